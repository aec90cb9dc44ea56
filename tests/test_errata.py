"""Every erratum is one: the printed text is wrong on its counterexample, and on nothing less."""

import re
from collections import Counter
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.errata import ERRATA, errata_of
from gradoracle.oracle.errata.erratum import (
    activation,
    back_to_an_image,
    convolution,
    fully_connected,
    pooling,
)
from gradoracle.oracle.formulas.convolution import (
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
)
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices, max_pool2d_values
from gradoracle.oracle.numbers import dual
from gradoracle.oracle.shapes import conv_shapes, pool_shape

ROOT = Path(__file__).parent.parent
BY_NAME = {erratum.name: erratum for erratum in ERRATA}
EACH = pytest.mark.parametrize("erratum", ERRATA, ids=[n.replace(" ", "_") for n in BY_NAME])

FORWARD = {  # of a gradient: what it is the derivative of, and by which argument
    conv2d_grad_input: (conv2d, "x"),
    conv2d_grad_weight: (conv2d, "weight"),
    conv2d_grad_bias: (conv2d, "bias"),
    oracle.linear_grad_input: (oracle.linear, "x"),
    oracle.relu_grad: (oracle.relu, "z"),
    oracle.softmax_grad: (oracle.softmax, "z"),
    oracle.max_pool2d_grad_input: (max_pool2d_values, "x"),
    oracle.max_pool2d_vjp: (max_pool2d_values, "x"),
    oracle.avg_pool2d_grad_input: (oracle.avg_pool2d, "x"),
}
# What is right where it is not a gradient, by hand.
BY_HAND = {
    "has C output maps": (2, 1, 1),
    "a stride of 1": [[[[0]]]],
    "no padding": [[[[0, 0, 0]]]],
    "no dilation": [[[[0]]]],
    "no groups": [[[[0]], [[0]]]],
    "a square kernel": [[[[0]]]],
    "no bias": [[[[1]]]],
    "reads one channel too many": [[[[0]]]],
    "keeps one product": [[[[1]]]],
    "goes down for right": 0,
    "is a stride times smaller": (1, 1),
    "has zeros where values were dropped": [[[[0, 1]]]],
    "sums beta plus one images": 0,
    "has dW on both sides": 1 / 2,
    "the loss is a sum": [[[[1 / 2]]]],
    "a convolution is one": [[[[1]]]],
    "the windows fit exactly": (1, 1, 1, 2),
    "no flattening": [[[[0]]]],
    "ends every region at k": [[[[0, 0]]]],
    "indices of the plane": [[[[0, 1]]]],
    "no padding of a pooling": [[[[-1, -1]]]],
}


def differ(answers):
    printed, right = answers
    if isinstance(printed, Exception):
        return True
    return np.shape(printed) != np.shape(right) or not (np.asarray(printed) == right).all()


@EACH
def test_printed_formula_is_wrong_on_the_counterexample(erratum):
    assert differ(erratum.shown()), erratum.printed


@EACH
def test_right_value_is_the_derivative_of_the_forward_loops(erratum):
    right = erratum.shown().right
    if erratum.name in BY_HAND:
        assert np.shape(right) == np.shape(BY_HAND[erratum.name])
        assert (np.asarray(right) == BY_HAND[erratum.name]).all()
    else:
        assert erratum.corrected is None
        forward, argument = FORWARD[erratum.formula]
        assert not differ((dual.gradient(forward, erratum.call, argument), right))


@EACH
def test_a_printed_formula_without_a_value_says_why(erratum):
    printed = erratum.shown().printed
    if isinstance(printed, Exception):
        words = (
            r"reads \w+\[.*\], but \w+ has shape|is empty|no product|not of one shape|slope|1/beta"
        )
        assert re.search(words, str(printed)), repr(printed)


# -- nothing smaller ------------------------------------------------------------------------------

PAIRS = ((1, 1), (1, 2), (2, 1), (2, 2))
STYLES = ("zeros", "ones", "generic")


def numbers(shape, style="generic"):
    """Return zeros, ones, or integers that no accidental identity survives."""
    generic = [(-1) ** i * (i * i + 2 * i + 3) for i in range(prod(shape))]
    fill = {"zeros": [0] * len(generic), "ones": [1] * len(generic), "generic": generic}[style]
    array = np.empty(len(generic), object)
    array[:] = fill
    return array.reshape(shape)


def size(call):
    """Return how large a call is: the sides of its data and what its options add up to."""
    arrays = [call[n] for n in ("x", "weight", "z", "gradient_per_image") if n in call]
    options = [call[n] for n in ("stride", "padding", "dilation", "kernel_size") if n in call]
    return sum(sum(a.shape) for a in arrays) + sum(map(sum, options)) + call.get("groups", 0)


def convolutions(like):
    """Every call that leaves the documents' setting only as the counterexample does.

    So there are several images, strides, padding, dilation or groups only if it has them.
    """
    free = {
        "stride": PAIRS if like["stride"] != (1, 1) else ((1, 1),),
        "padding": ((0, 0), (0, 1)) if any(like["padding"]) else ((0, 0),),
        "dilation": PAIRS if like["dilation"] != (1, 1) else ((1, 1),),
        "groups": (1, 2) if like["groups"] > 1 else (1,),
    }
    images = list(product((1, 2, 3), repeat=2))
    batches = (1, 2) if len(like["x"]) > 1 else (1,)
    for n, depth, m, kernel, image in product(batches, (1, 2), (1, 2), PAIRS, images):
        for chosen in product(*free.values()):
            options = dict(zip(free, chosen, strict=True))
            x, weight = (n, depth * options["groups"], *image), (m * options["groups"], depth)
            try:
                shapes = conv_shapes(2, x, weight + kernel, **options)
            except ValueError:
                continue
            for style in STYLES:
                bias = numbers(shapes.weight[:1], style) if any(like["bias"]) else None
                yield convolution(
                    numbers(shapes.weight, style), x=numbers(x, style), bias=bias,
                    grad_output=numbers(shapes.y, style), **options,
                )  # fmt: skip


def poolings(like):
    """Every call of one channel, every image of zeros and ones with up to 4 pixels among them."""
    paddings = ((0, 0), (0, 1)) if any(like["padding"]) else ((0, 0),)
    kernels = list(product((1, 2, 3), repeat=2))
    images = list(product((1, 2, 3, 4, 5), repeat=2))
    for n, image, kernel, stride, padding in product((1, 2), images, kernels, PAIRS, paddings):
        shape = (n, 1, *image)
        options = {"kernel_size": kernel, "stride": stride, "padding": padding}
        try:
            y = pool_shape(2, shape, ceil_mode=False, **options)
        except ValueError:
            continue
        pixels = [numbers(shape, style) for style in STYLES]
        if prod(shape) <= 4:
            bits = product((0, 1), repeat=prod(shape))
            pixels += [np.array(one, object).reshape(shape) for one in bits]
        for x in pixels:
            yield pooling(
                x, kernel, grad_output=numbers(y), stride=stride, padding=padding
            )  # fmt: skip


def transposed(like):
    for stride, kernel, rest in product(PAIRS, PAIRS, ((0, 0), (0, 1))):
        if not all(r < s for r, s in zip(rest, stride, strict=True)):
            continue
        yield back_to_an_image(
            numbers((1, 1, 1, 1)), numbers((1, 1, *kernel)), stride=stride,
            image=(1, 1, kernel[0] + rest[0], kernel[1] + rest[1]),
        )  # fmt: skip


def others(like):
    for n in (1, 2):
        yield {"gradient_per_image": numbers((n,))}
        yield activation(numbers((n,)).tolist(), grad_output=numbers((n,)).tolist())
        for m, c in product((1, 2), repeat=2):
            yield fully_connected(
                numbers((m, c)), grad_output=numbers((n, m)), x=numbers((n, c))
            )  # fmt: skip


def smaller_calls(erratum):
    """Every smaller call with the arguments that the counterexample has."""
    like = erratum.call
    family = (
        poolings if "kernel_size" in like
        else transposed if "output_padding" in like
        else convolutions if "stride" in like
        else others
    )  # fmt: skip
    for call in family(like):
        if call.keys() == like.keys() and size(call) < size(like):
            yield call


def is_about_something(erratum, call):
    """Return whether what is printed speaks of the call: of a map to the right, of no 0 below."""
    if erratum.name == "goes down for right":
        return call["grad_output"].shape[3] > 1
    return erratum.name != "divides Z by Y" or call["x"].all()


@pytest.mark.slow
@EACH
def test_nothing_smaller_tells_printed_and_right_apart(erratum):
    for call in smaller_calls(erratum):
        if is_about_something(erratum, call):
            assert not differ(erratum.answers(call)), call


@pytest.mark.parametrize(("name", "least"), [
    ("flips twice", 3), ("no groups", 20), ("no dilation", 20),
    ("adds to the previous region only", 100),
    ("no ties", 5), ("has dW on both sides", 1), ("acts element by element", 1),
    ("one column", 1), ("the windows fit exactly", 1),
])  # fmt: skip
def test_there_are_smaller_calls(name, least):
    assert len(list(smaller_calls(BY_NAME[name]))) >= least


# What the document divides by may not be 0, and at 0 the derivative is a convention.
NOT_ZEROED = {"divides Z by Y", "leaves the activation out"}


@pytest.mark.parametrize("erratum", [e for e in ERRATA if e.name not in NOT_ZEROED],
                         ids=lambda e: e.name)  # fmt: skip
def test_every_nonzero_number_of_the_counterexample_is_needed(erratum):
    for name, array in erratum.call.items():
        if name == "indices" or not isinstance(array, np.ndarray):
            continue
        for at in np.argwhere(array).tolist():
            less = array.copy()
            less[tuple(at)] = 0
            assert not differ(erratum.answers(_with(erratum.call, name, less))), (name, at)


def _with(call, name, array):
    changed = {**call, name: array}
    if "kernel_size" in call:
        options = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        changed["indices"] = max_pool2d_indices(changed["x"], **{n: call[n] for n in options})
    return changed


# -- what is told of them -------------------------------------------------------------------------


@EACH
def test_erratum_is_told_completely(erratum):
    assert re.match(r"00[0-3]( and 00[0-3])?, |00[0-3], ", erratum.where)
    assert erratum.kind in ("misprint", "assumption")
    assert erratum.printed != erratum.right
    assert erratum.as_printed.__doc__
    assert erratum.arguments()
    assert all(name in erratum.call for name in erratum.reads)
    assert erratum in errata_of(erratum.formula)
    for text in (erratum.where, erratum.printed, erratum.right):
        assert text == " ".join(text.split())
        assert "  " not in text


def test_there_are_so_many():
    assert Counter(e.kind for e in ERRATA) == {"misprint": 27, "assumption": 25}
    assert len(BY_NAME) == len(ERRATA)
    for document in ("000", "001", "002", "003"):
        assert any(e.where.startswith(document) for e in ERRATA)


def test_formulas_whose_docstring_speaks_of_an_erratum_have_one():
    formulas = {f for e in ERRATA for f in (e.formula, *e.also)}
    for name in oracle.__all__:
        if "Erratum: " in (getattr(oracle, name).__doc__ or ""):
            assert getattr(oracle, name) in formulas, name


def row(erratum):
    """Return the erratum as a row of a table in Markdown."""
    cells = (erratum.where, erratum.printed, erratum.right)
    return "| " + " | ".join(cell.replace("*", r"\*") for cell in cells) + " |"


def test_readme_lists_every_erratum():
    readme = (ROOT / "oracle" / "errata" / "README.md").read_text("utf-8")
    for kind, title in (("misprint", "**Misprints**"), ("assumption", "**Hidden assumptions**")):
        table = readme.split(title)[1].split("\n\n")[1].splitlines()
        assert table[2:] == [row(e) for e in ERRATA if e.kind == kind]
