"""Certificates and calls for tests of pages, made without a run."""

from dataclasses import asdict, replace
from itertools import cycle

import numpy as np

from gradoracle.conformance.backends.contract import Contract
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.reports.explain import topics
from gradoracle.oracle.declaration import argument_names, displayed, evaluate

ENVIRONMENT = {"gradoracle": "0", "Python": "3", "NumPy": "2", "Hypothesis": "6",
               "machine": "x", "BLAS": "b"}  # fmt: skip
OPTIONS = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}


def integers(seed, *shape):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


def convolution(side=6):
    """Return every argument of conv2d's formulas."""
    x, weight = integers(1, 2, 4, side, side), integers(2, 2, 2, 3, 2)
    given = {"x": x, "weight": weight, "bias": integers(3, 2), **OPTIONS}
    y = evaluate(topics()["conv2d"].formula, given)
    return {**given, "grad_output": integers(4, *y.shape), "input_shape": x.shape,
            "weight_shape": weight.shape}  # fmt: skip


def pooling():
    """Return every argument of the formulas of average pooling of one axis."""
    options = {"kernel_size": (3,), "stride": (2,), "padding": (1,), "ceil_mode": True,
               "count_include_pad": False}  # fmt: skip
    x = integers(5, 1, 2, 8)
    y = evaluate(topics()["avg_pool1d"].formula, {"x": x, **options})
    return {"x": x, **options, "grad_output": integers(6, *y.shape), "input_shape": x.shape}


CALLS = {
    "conv2d": convolution, "conv2d_grad_input": convolution, "conv2d_grad_weight": convolution,
    "avg_pool1d": pooling, "avg_pool1d_grad_input": pooling,
}  # fmt: skip


def array(value):
    return {"dtype": value.dtype.name, "shape": [*value.shape], "data": value.ravel().tolist()}


def plain(value):
    if isinstance(value, np.ndarray):
        return array(value)
    return [*value] if isinstance(value, tuple) else value


def mismatch(name, script="print('wrong')\n"):
    """Return the report of a formula whose last element came as one more than it is."""
    formula, call = topics()[name].formula, CALLS[name]()
    want = evaluate(formula, call)
    got, wrong = want.copy(), np.zeros(want.shape, bool)
    got.flat[-1] += 1
    wrong.flat[-1] = True
    names = [n for part in argument_names(formula) for n in part]
    given = {n: call[n] for n in names}
    arguments = {n: plain(v) for n, v in given.items()}
    place = [side - 1 for side in want.shape]
    equation, source = displayed(formula)
    return {
        "headline": f"{name}{place}: got {got.flat[-1]}, want {want.flat[-1]} (the data are exact)",
        "formula": name, "equation": equation, "source": source, "sentence": "It is right.",
        "arguments": arguments,
        "nonzeros": {n: int(np.count_nonzero(v)) for n, v in given.items()
                     if isinstance(v, np.ndarray)},
        "looks_like": ["one is added to the last element"],
        "repro": f"pytest --backend x -k x-{name}-matches_oracle", "script": script, "text": "text",
        "replay": None,
        "element": {"function": name, "index": place, "got": got.flat[-1], "want": want.flat[-1],
                    "allowed": 0.0},
        "compared": {"shape": [*want.shape], "start": [0] * want.ndim, "got": array(got),
                     "want": array(want), "wrong": array(wrong)},
    }  # fmt: skip


def certificate(count=5, **changed):
    """Return a certificate with so many mismatches and some checks that pass."""
    names = cycle(CALLS)
    broken = [(next(names), f"property_{n // len(CALLS)}") for n in range(count)]
    outcomes = [
        Outcome("mine", name, of, "mismatch", mismatch(name)["headline"], mismatch=mismatch(name))
        for name, of in broken
    ]
    passed = Outcome(
        "mine", "relu", "within_rounding_bound", "passed", planted=3, shapes=4, seconds=0.5,
        calls={"float32": {"free": 20, "boundary": 5}, "float64": {"free": 7}},
        worst_error_over_bound=0.75, errors={"float32": [9, 4, 3, 0, 0, 1, 1, 1, 0, 0]},
        covered=[{"name": "all options", "strength": 2, "calls": 9, "met": 6, "possible": 8,
                  "beside_neutral": False}],
    )  # fmt: skip
    unclaimed = Outcome("mine", "tanh", "matches_torch", "not claimed", "it has no tanh")
    contract = asdict(Contract(dtypes=("float32", "float64")))
    made = Certificate(
        "mine", "this process", {**contract, "has": ["relu"], "inside": {}}, 1, 25,
        ENVIRONMENT, [*outcomes, passed, unclaimed],
        [[o.formula, o.property_name] for o in [*outcomes, passed, unclaimed]], suite="0" * 64,
        confinement={"process": "the suite's own process"},
    )  # fmt: skip
    return replace(made, **changed)
