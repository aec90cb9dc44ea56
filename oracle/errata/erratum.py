"""What an erratum is, and the small calls that errata are shown on."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from gradoracle.oracle.declaration import Call, Formula, argument_names, evaluate
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices
from gradoracle.oracle.shapes import (
    Array,
    Pair,
    Shape,
    conv_shapes,
    conv_transpose_shapes,
    pool_shape,
)

Kind: TypeAlias = Literal["misprint", "assumption"]
Value: TypeAlias = Callable[[Call], Any]  # of what is printed, or of what is right, on a call


class Undefined(ArithmeticError):
    """What is printed has no value on a call."""


class Answers(NamedTuple):
    """What the printed formula gives on a call, or its error, and what the right one gives."""

    printed: Any
    right: Any


@dataclass(frozen=True)
class Erratum:
    """One misprint or hidden assumption: `as_printed` and `formula` differ on `call`."""

    name: str
    kind: Kind
    where: str  # document and place
    printed: str
    right: str
    formula: Formula  # the right one
    as_printed: Value  # raises IndexError or ArithmeticError where the letter has no value
    call: Call  # the smallest counterexample
    corrected: Value | None  # where what is printed is not the value of a formula
    also: tuple[Formula, ...]  # more formulas that it is about
    reads: tuple[str, ...]  # of the call, besides the formula's own arguments

    def answers(self, call: Call) -> Answers:
        """Return what the printed formula and the right one give on a call."""
        right = self.corrected(call) if self.corrected else evaluate(self.formula, call)
        try:
            printed = self.as_printed(call)
        except (IndexError, ArithmeticError) as error:
            printed = error
        return Answers(printed, right)

    def shown(self) -> Answers:
        """Return what the printed formula and the right one give on the counterexample."""
        return self.answers(self.call)

    def arguments(self) -> dict[str, Any]:
        """Return what of the counterexample is read, by name."""
        names = [name for part in argument_names(self.formula) for name in part]
        return {n: self.call[n] for n in (*names, *self.reads) if self.call.get(n) is not None}

    def is_about(self, formula: Formula) -> bool:
        """Return whether somebody who follows the printed text gets `formula` wrong."""
        return formula is self.formula or formula in self.also


FOUND: list[Erratum] = []  # in the order in which they are written down


def found(
    kind: Kind, where: str, *, printed: str, right: str, formula: Formula, call: Call,
    name: str = "", corrected: Value | None = None, also: tuple[Formula, ...] = (),
    reads: tuple[str, ...] = (),
) -> Callable[[Value], Value]:  # fmt: skip
    """Declare that a function evaluates to the letter what is printed; it names the erratum."""

    def add(as_printed: Value) -> Value:
        called = name or getattr(as_printed, "__name__", "").replace("_", " ")
        FOUND.append(
            Erratum(
                called, kind, where, printed, right, formula, as_printed, call, corrected, also,
                reads,
            )
        )  # fmt: skip
        return as_printed

    return add


misprint = partial(found, "misprint")
assumption = partial(found, "assumption")


def read(name: str, array: Array, *at: int) -> Any:
    """Return an element of the array that is printed as `name`, counting nothing from the end.

    Raises:
        IndexError: there is no such element.
    """
    if not all(0 <= i < size for i, size in zip(at, array.shape, strict=True)):
        raise IndexError(f"reads {name}{[*at]}, but {name} has shape {[*array.shape]}")
    return array[at]


# -- calls, of nested lists of integers -----------------------------------------------------------


def exact(numbers: object) -> Array:
    """Return an array of fractions, which may be divided exactly."""
    array: Array = np.array(numbers, object)
    return np.asarray(np.frompyfunc(Fraction, 1, 1)(array), object) if array.size else array


def convolution(
    weight: object, *, grad_output: object, x: object, bias: object = None, stride: Pair = (1, 1),
    padding: Pair = (0, 0), dilation: Pair = (1, 1), groups: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """Return every argument of conv2d's formulas; without a bias it is 0."""
    arrays = {name: np.array(a, object) for name, a in (("x", x), ("weight", weight))}
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shapes = conv_shapes(2, arrays["x"].shape, arrays["weight"].shape, **options)  # type: ignore[arg-type]
    return {
        **arrays,
        **options,
        "bias": np.array([0] * shapes.weight[0] if bias is None else bias, object),
        "grad_output": np.array(grad_output, object).reshape(shapes.y),
        "input_shape": shapes.x,
        "weight_shape": shapes.weight,
    }


def back_to_an_image(x: object, weight: object, *, stride: Pair, image: Shape) -> dict[str, Any]:
    """Return the call of the transposed convolution that leads back to an image of this shape."""
    arrays = {name: np.array(a, object) for name, a in (("x", x), ("weight", weight))}
    options = {"stride": stride, "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    full = conv_transpose_shapes(
        2, arrays["x"].shape, arrays["weight"].shape, output_padding=(0, 0), **options  # type: ignore[arg-type]
    ).y  # fmt: skip
    more = (image[2] - full[2], image[3] - full[3])
    return {**arrays, **options, "bias": None, "output_padding": more, "image": image}


def pooling(
    x: object, kernel_size: Pair, *, grad_output: object, stride: Pair = (1, 1),
    padding: Pair = (0, 0),
) -> dict[str, Any]:  # fmt: skip
    """Return every argument of the formulas of max and of average pooling."""
    image = exact(x)
    options: dict[str, Any] = {
        "kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": False
    }  # fmt: skip
    return {
        "x": image,
        "input_shape": image.shape,
        "grad_output": exact(grad_output).reshape(pool_shape(2, image.shape, **options)),
        "indices": max_pool2d_indices(image, dilation=(1, 1), **options),
        "dilation": (1, 1),
        "count_include_pad": True,
        **options,
    }


def fully_connected(weight: object, *, grad_output: object, x: object) -> dict[str, Any]:
    """Return every argument of linear's formulas."""
    arrays = {"x": x, "weight": weight, "grad_output": grad_output}
    return {**{name: np.array(a, object) for name, a in arrays.items()}, "bias": None}


def activation(z: object, *, grad_output: object) -> dict[str, Any]:
    """Return every argument of the activations' and softmax's formulas, on one row."""
    return {"z": np.array(z, object), "grad_output": np.array(grad_output, object), "axis": 0}
