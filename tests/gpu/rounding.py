"""Whether an answer is within the rounding bound of its formula, in NumPy's or PyTorch's arrays.

A sum of n products that is held in a format of unit roundoff u is, in whatever order it is added,
within gamma_n sum|x||w| of the exact one, gamma_n = n u / (1 - n u) (Higham 2002, section 3.1).
Winograd's and Fourier's algorithms do not compute that sum, and need not keep to it.
"""

from typing import NamedTuple

UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "TF32": 2.0**-11, "float16": 2.0**-11}
TINY = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24}
BOUND = "gamma_n sum|x||w| with gamma_n = n u / (1 - n u), u = 2**-24, n the products of a sum"


class Verdict(NamedTuple):
    """How an answer compares with the reference."""

    wrong: int  # elements beyond the bound, or not finite
    elements: int
    largest: float  # error over bound

    @property
    def within(self):
        return self.wrong == 0


def gamma(terms, unit):
    """Return gamma_n.

    Raises:
        ValueError: so many terms have no bound in that format.
    """
    if terms * unit >= 1:
        raise ValueError(f"a sum of {terms} products has no bound with a unit roundoff of {unit}")
    return terms * unit / (1 - terms * unit)


def judged(got, want, total, terms, *, held="float32", stored=None):
    """Compare an answer with the exact one, of which `total` is the sum with |x||w|.

    `want` and `total` are float64, rounded themselves; `held` is the format of the sums, `stored`
    that of the answer, if it is another.
    """
    share = gamma(terms, UNITS[held]) + gamma(terms, UNITS["float64"])
    allowed = total * (share * (1 + gamma(terms, UNITS["float64"])))
    if stored not in (None, held):
        allowed = allowed + (abs(want) + allowed) * UNITS[stored] + TINY[stored]
    error = abs(got - want)
    wrong = ~(error <= allowed)  # a NaN is wrong
    # Where nothing is allowed, an error of 0 is no share of it.
    largest = float((error / (allowed + TINY["float64"])).max()) if error.shape[0] else 0.0
    return Verdict(int(wrong.sum()), int(wrong.reshape(-1).shape[0]), largest)
