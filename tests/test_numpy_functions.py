"""NumPy's functions in formulas: their values, gradients and bounds are those of NumPy itself."""

import re
from pathlib import Path

import numpy as np
import pytest

import gradoracle
from gradoracle.extend import log_sum_exp
from gradoracle.oracle.declaration import all_names
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.numbers import numpy_functions
from gradoracle.oracle.numbers.reverse import ARRAY_FUNCTIONS, METHODS, UFUNCS

SEEDS, STEP = (1, 2, 3), 1e-6
HIGHEST = 6.0  # of x: cosh and its like stay small


def filled_in(x):
    y = np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] += x[i, j] * x[i, j - 1]
    return y


def added_to_a_slice(x):
    y = np.zeros_like(x)
    y[:, 1:] += x[:, :-1]
    y[:, 0] -= x[0, 0]
    return y * x


def filled_in_by_rows(x):
    y = np.empty_like(x)
    y[:, 0] = x[:, 0]
    for j in range(1, x.shape[1]):
        y[:, j] = 0.5 * y[:, j - 1] + x[:, j]
    return y * x


def signs_and_limits(x):
    inside = np.logical_and(x > -1, np.logical_not(x > 1))
    return np.where(np.logical_or(inside, x > 2), x, np.sign(x)) + np.clip(x, -0.5, 0.5)


# Of x [N, C] and w [C, M].
FORMULAS = {
    "abs": lambda x, w: x / (1 + np.abs(x)) + np.fabs(x),
    "argmax": lambda x, w: x + np.argmax(x, 1)[:, None],
    "argmin": lambda x, w: x * x.argmin(1)[:, None],
    "argsort": lambda x, w: x + np.argsort(x, 1),
    "arctan": lambda x, w: np.arctan(x),
    "arcsinh": lambda x, w: np.arcsinh(x),
    "arctanh": lambda x, w: np.arctanh(x / 8),
    "atleast_2d": lambda x, w: np.atleast_2d(np.atleast_1d(x[0])) * x,
    "broadcast_to": lambda x, w: np.broadcast_to(w[:, 0], x.shape) * x,
    "cos": lambda x, w: np.cos(x) * np.sin(x),
    "cosh": lambda x, w: np.cosh(x),
    "cumsum": lambda x, w: np.cumsum(x, 1) + x.cumsum(0),
    "delete": lambda x, w: np.delete(x, 1, 1) ** 2,
    "diagonal": lambda x, w: np.diagonal(x) * 2 + x.diagonal(),
    "diff": lambda x, w: np.diff(x, axis=1) ** 2,
    "dot": lambda x, w: np.dot(x, w) + x.dot(w),
    "dot of lines": lambda x, w: np.dot(x[0], w[:, 0]) * x,
    "einsum": lambda x, w: np.einsum("nc,cm->mn", x, w),
    "einsum of a batch": lambda x, w: np.einsum("nc,nd->ncd", x, x),
    "einsum of one": lambda x, w: np.einsum("nc->c", x),
    "einsum of rows": lambda x, w: np.einsum("nc,cm->n", x, w),
    "einsum without a result": lambda x, w: np.einsum("nc,cm", x, w),
    "einsum of three": lambda x, w: np.einsum("nc,cm,kc->nk", x, w, x),
    "einsum of four": lambda x, w: np.einsum("nc,cm,kc,n->km", x, w, x, x[:, 0]),
    "einsum with an ellipsis": lambda x, w: np.einsum("...c,cm->...m", x, w)
    + np.einsum("...c,cm", x, w),
    "einsum of ellipses": lambda x, w: np.einsum("...i,...i->...", np.stack([x, x * x]), x),
    "einsum of a diagonal": lambda x, w: np.einsum("ii->i", x[:, :3]) + np.einsum("ii", x[:, 1:]),
    "einsum of one row": lambda x, w: np.einsum("nc,nc->nc", x, x[:1]),
    "exp": lambda x, w: np.exp(x) + np.expm1(x),
    "exp2": lambda x, w: np.exp2(x),
    "expand_dims": lambda x, w: np.squeeze(np.expand_dims(x, 1) * 2, 1),
    "filled in": lambda x, w: filled_in(x),
    "added to a slice": lambda x, w: added_to_a_slice(x),
    "filled in by rows": lambda x, w: filled_in_by_rows(x),
    "flip": lambda x, w: np.flip(x, 1) * x + np.fliplr(x) + np.flipud(x),
    "full_like": lambda x, w: np.full_like(x, 3) * x + np.ones_like(x),
    "hstack": lambda x, w: np.hstack([x, x * 2]),
    "hstack of lines": lambda x, w: np.hstack([x[0], x[1] * 2]),
    "inner": lambda x, w: np.inner(x, w.T),
    "isnan": lambda x, w: np.where(np.isnan(x), 0, x * 2),
    "log": lambda x, w: np.log(1 + x * x) + np.log1p(x * x),
    "log10": lambda x, w: np.log10(1 + x * x),
    "log_sum_exp": lambda x, w: log_sum_exp(x, 1) if hasattr(x, "held") else np.log(
        np.exp(x).sum(1, keepdims=True)),
    "log2": lambda x, w: np.log2(1 + x * x),
    "logaddexp": lambda x, w: np.logaddexp(x, np.flip(x, 1) * 3) + np.logaddexp(0, x),
    "matmul of a line": lambda x, w: x @ w[:, 0],
    "matmul by a line": lambda x, w: x[0] @ w,
    "matmul of lines": lambda x, w: (x[0] @ w[:, 0]) * x,
    "moveaxis": lambda x, w: np.moveaxis(x, 0, 1) * w.T[0][:, None],
    "norm": lambda x, w: np.linalg.norm(x, axis=1) + np.linalg.norm(x, 1, axis=1),
    "outer": lambda x, w: np.outer(x[0], w[:, 0]),
    "pad": lambda x, w: np.pad(x * x, ((0, 0), (1, 2))),
    "pad by ones": lambda x, w: np.pad(x, 1, constant_values=1) ** 2,
    "pad by the edge": lambda x, w: np.pad(x, ((0, 0), (2, 1)), "reflect") ** 2,
    "power": lambda x, w: np.power(x, 3) + x**2 + (1 + x * x) ** -2,
    "power of 0": lambda x, w: x**0 + x,
    "power of a half": lambda x, w: (1 + x * x) ** 0.5 + (1 + x * x) ** -0.5,
    "power of a fraction": lambda x, w: (1 + x * x) ** 1.5 + (1 + x * x) ** -0.75,
    "power of a base": lambda x, w: 2**x + 0.9**x + np.power(10, x / 4) + 3.0 ** (x * x / 8),
    "prod": lambda x, w: np.prod(x, 1) + x.prod() + np.prod(x * x, axis=0, keepdims=True)[0, :3],
    "cumprod": lambda x, w: np.cumprod(x, 1) + x.cumprod(0) + np.cumprod(x)[:4],
    "cumsum of all": lambda x, w: x.cumsum() * np.cumsum(x),
    "ravel": lambda x, w: np.ravel(x) * x.flatten() * x.ravel(),
    "reciprocal": lambda x, w: np.reciprocal(1 + x * x),
    "repeat": lambda x, w: np.repeat(x, 2, axis=1) ** 2,
    "roll": lambda x, w: np.roll(x, 1, axis=1) * x,
    "rot90": lambda x, w: np.rot90(x) ** 2,
    "signs and limits": lambda x, w: signs_and_limits(x),
    "whole numbers": lambda x, w: x * np.floor(x) + np.ceil(x) * x * x + np.trunc(x) + np.rint(x),
    "rounded": lambda x, w: x * np.round(x, 1) + np.around(x) * x.round(),
    "remainder": lambda x, w: x * (x % 1) + np.remainder(x, 0.75) * np.fmod(x, 1.5) + x // 2
    + np.floor_divide(x, 0.3) * x + np.mod(x, x[0] + 20) + 7 % (x * x + 3),
    "methods of functions": lambda x, w: np.add.reduce(x) + np.multiply.reduce(x, 0)
    + np.maximum.reduce(x, axis=0) * np.minimum.reduce(x) + np.add.accumulate(x)
    + np.multiply.accumulate(x) + np.maximum.accumulate(x, 1) + np.logaddexp.reduce(x, 0),
    "outer of functions": lambda x, w: np.subtract.outer(x[0], x[:, 1]) * np.multiply.outer(
        x[1], w[:3, 0]) + np.add.outer(x[0], x[1, :3]),
    "amax": lambda x, w: np.amax(x, 1) * np.amin(x, axis=1),
    "shapes": lambda x, w: x * np.size(x) + np.ndim(x) + np.shape(x)[1] + np.size(x, 0),
    "sinh": lambda x, w: np.sinh(x),
    "sort": lambda x, w: np.sort(x, 1) * np.arange(x.shape[1]),
    "split": lambda x, w: np.split(x, [1, 2], 1)[1] ** 2,
    "sqrt": lambda x, w: np.sqrt(1 + np.square(x)),
    "stack": lambda x, w: np.stack([x[:, 0], x[:, -1] * 2], 1),
    "stack in front": lambda x, w: np.stack([x, x * x]),
    "std": lambda x, w: x.std(1, keepdims=True) * x + np.std(x),
    "take": lambda x, w: np.take(x, [0, 2, 2], 1) ** 2 + x.take([0, 1, 1], 1),
    "take_along_axis": lambda x, w: np.take_along_axis(x, np.argsort(x, 1)[:, ::-1], 1) ** 2,
    "tan": lambda x, w: np.tan(x / 8),
    "tanh": lambda x, w: np.tanh(x),
    "tensordot": lambda x, w: np.tensordot(x, w, 1) + np.tensordot(x, w, ([1], [0])),
    "tile": lambda x, w: np.tile(x, (1, 2)) ** 2,
    "trace": lambda x, w: np.trace(x @ w) * x,
    "triangles": lambda x, w: np.tril(x) ** 2 + np.triu(x, 1),
    "unchanged": lambda x, w: np.copy(x) * x.copy() + np.positive(x.astype(x.dtype)),
    "var": lambda x, w: np.var(x, 1, ddof=1) + x.var(1),
    "vstack": lambda x, w: np.vstack([x, x * x]),
    "vstack of lines": lambda x, w: np.vstack([x[0], x[1] * 2]),
}  # fmt: skip


def operator_of(formula):
    def made(x, w):
        """Return y.

            y = f(x, w)

        (a test's own formula).
        """
        return formula(x, w)

    made.__module__ = __name__
    return gradoracle.operator("x: n c; w: c m")(made)


def call_of(seed):
    random = np.random.default_rng(seed)
    return {"x": random.normal(size=(3, 4)) * 1.5, "w": random.normal(size=(4, 2))}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_formula_is_what_numpy_makes_of_it(name, seed):
    formula, given = FORMULAS[name], call_of(seed)
    forward, by_x, by_w, _ = operator_of(formula).formulas
    y = formula(**given)
    found = truth(forward, given)
    assert found.shape == np.shape(y)
    assert found.as_float(np.dtype(float)) == pytest.approx(y, rel=1e-12, abs=1e-12)
    dy = np.random.default_rng(seed + 9).normal(size=np.shape(y))
    for by, gradient in (("x", by_x), ("w", by_w)):
        call = {n: {**given, "grad_output": dy}[n] for n in all_names(gradient)}
        got = truth(gradient, call).as_float(np.dtype(float))
        assert got == pytest.approx(slope(formula, given, by, dy), rel=1e-5, abs=1e-5), by


def slope(formula, given, by, dy):
    """dE/d`by` by finite differences."""
    found = np.zeros(given[by].shape)
    for at in np.ndindex(*found.shape):
        step = np.zeros(found.shape)
        step[at] = STEP
        one, other = (formula(**{**given, by: given[by] + s}) for s in (step, -step))
        found[at] = ((one - other) * dy).sum() / (2 * STEP)
    return found


@pytest.mark.parametrize("name", FORMULAS)
def test_numpy_in_single_precision_is_within_the_bound(name):
    formula = FORMULAS[name]
    forward, *_ = operator_of(formula).formulas
    for seed in range(20):
        given = {n: a.astype(np.float32) for n, a in call_of(seed).items()}
        got = np.asarray(formula(**given), np.float32)
        wide = {n: a.astype(np.float64) for n, a in given.items()}
        found = truth(forward, wide)
        bound = found.bound("float32", "float32")
        error = abs(got.astype(np.float64) - found.as_float(np.dtype(float)))
        assert (error <= bound).all(), (seed, error, bound)
        assert (bound <= 1e-4 * (1 + abs(got))).all()


# Older than the others: other tests have them.
ELSEWHERE = {
    "concatenate", "transpose", "swapaxes", "reshape", "max", "min", "mean", "sum",
}  # fmt: skip
README = Path(__file__).parents[1] / "conformance/operators/README.md"


def known_names():
    return {one.__name__ for one in (*ARRAY_FUNCTIONS, *UFUNCS)} | {*METHODS}


def test_all_functions_are_tried():
    names = {one.__name__ for one in (*ARRAY_FUNCTIONS, *numpy_functions.UNIVERSAL)} | {*METHODS}
    text = Path(__file__).read_text()
    left = {n for n in names - ELSEWHERE if f"np.{n}(" not in text and f".{n}(" not in text}
    assert not left - {"norm"}  # numpy.linalg.norm
    assert "np.linalg.norm(" in text


def test_the_functions_that_the_readme_lists_are_known():
    text = README.read_text()
    start = text.index("| of each number |")
    table = text[start : text.index("\n\n", start)]
    extended = {"erf", "sigmoid", "softplus", "gradoracle.extend"}
    listed = {*re.findall(r"`([\w.]+)`", table)} - extended
    assert len(listed) > 60
    unknown = {n.rpartition(".")[2] for n in listed} - known_names() - {"abs"}
    assert not unknown
    assert np.absolute in UFUNCS


POINTWISE = {
    "maximum of a float": lambda z: np.maximum(z, 0.0) + np.minimum(1, z),
    "exp of exp": lambda z: np.exp(-np.exp(z)),
    "exp": lambda z: np.exp(z) - 1,
    "power": lambda z: z**3 + (1 + z * z) ** 0.5,
    "where": lambda z: np.where(z > 0, z, 0.1 * z),
    "maximum": lambda z: np.maximum(z, 0) + np.clip(z, -1, 1),
    "abs": lambda z: z / (1 + abs(z)),
    "sign": lambda z: np.sign(z) * z * z,
    "power of a base": lambda z: 2**z + 0.9**z,
    "whole numbers": lambda z: z * np.floor(z) + z * np.round(z, 1),
    "remainder": lambda z: z * (z % 1) + z // 0.75,
}


@pytest.mark.parametrize("name", POINTWISE)
def test_numpy_of_single_numbers(name):
    def made(z):
        """Return y.

            y = f(z)

        (a test's own formula).
        """
        return POINTWISE[name](z)

    made.__module__ = __name__
    forward, gradient = gradoracle.operator()(made).formulas
    for size in (3, 40):
        z = np.random.default_rng(size).normal(size=size)
        got = truth(forward, {"z": z}).as_float(np.dtype(float))
        want = POINTWISE[name](z)
        assert got == pytest.approx(want, rel=1e-12, abs=1e-12)
        back = truth(gradient, {"z": z, "grad_output": np.ones(size)})
        moved = (POINTWISE[name](z + STEP) - POINTWISE[name](z - STEP)) / (2 * STEP)
        assert back.as_float(np.dtype(float)) == pytest.approx(moved, rel=1e-5, abs=1e-5)
        assert (back.bound("float32", "float32") < 1e-4).all()
