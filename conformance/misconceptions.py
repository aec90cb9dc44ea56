"""Named wrong formulas: what a wrong answer looks like once somebody has misunderstood something.

A misconception is a formula of the protocol on a call that was bent (an axis reversed, an option
swapped or ignored) or a result that was.  It explains a backend if it gives the backend's answers,
all of them, on calls where it differs from the right formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from conformance.mismatch import Answer
from oracle.formula import Call, Formula, evaluate, images, is_data, operands
from oracle.geometry import Array, remainder
from oracle.truth import truth

Bend: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
Wrong: TypeAlias = Callable[[Formula, dict[str, Any]], Array]


@dataclass(frozen=True)
class Misconception:
    """A wrong formula with the sentence that names it, and the functions that it can explain."""

    sentence: str
    functions: tuple[str, ...]
    wrong: Wrong

    def answer(self, formula: Formula, call: Call) -> Array | None:
        """Return what the misconception gives for a call, or None where it gives nothing."""
        wide = {n: a.astype(np.float64) if is_data(a) else a for n, a in call.items()}
        try:
            with np.errstate(all="ignore"):
                given = self.wrong(formula, wide)
        except (ValueError, IndexError, ZeroDivisionError):
            return None
        return given if np.isfinite(given).all() else None


FORWARD, DX, DW, DB = "conv2d", "conv2d_grad_input", "conv2d_grad_weight", "conv2d_grad_bias"
ALL = (FORWARD, DX, DW)


def bent(bend: Bend) -> Wrong:
    """Return the right formula on a bent call."""
    return lambda formula, call: evaluate(formula, bend(call))


def reversed_axes(name: str, *axes: int) -> Bend:
    """Return the bend that reverses axes of one array."""
    return lambda call: {**call, name: np.flip(call[name], axes)}


def option(name: str, change: Callable[[Any], Any]) -> Bend:
    """Return the bend that changes one option."""
    return lambda call: {**call, name: change(call[name])}


def swapped(pair: tuple[int, int]) -> tuple[int, int]:
    """Return (width's, height's)."""
    return pair[1], pair[0]


def first_twice(pair: tuple[int, int]) -> tuple[int, int]:
    """Return the height's value for both sides."""
    return pair[0], pair[0]


def second_twice(pair: tuple[int, int]) -> tuple[int, int]:
    """Return the width's value for both sides."""
    return pair[1], pair[1]


def _leaves_padding_in_place(formula: Formula, call: dict[str, Any]) -> Array:
    """dX of the padded image, its first H rows and W columns returned."""
    whole = _keeps_padding(formula, call)
    return whole[:, :, : call["input_shape"][2], : call["input_shape"][3]]


def _keeps_padding(formula: Formula, call: dict[str, Any]) -> Array:
    """dX of the padded image, returned whole."""
    images_, channels, height, width = call["input_shape"]
    down, across = call["padding"]
    padded = (images_, channels, height + 2 * down, width + 2 * across)
    return evaluate(formula, {**call, "input_shape": padded, "padding": (0, 0)})


def _drops_remainder(formula: Formula, call: dict[str, Any]) -> Array:
    """dX without the last rows and columns that no window reaches."""
    dx = evaluate(formula, call)
    rest = [
        remainder(size, k, s, p, d)
        for size, k, s, p, d in zip(
            dx.shape[2:], call["weight"].shape[2:], call["stride"], call["padding"],
            call["dilation"], strict=True,
        )
    ]  # fmt: skip
    return dx[:, :, : dx.shape[2] - rest[0], : dx.shape[3] - rest[1]]


def _shifts_by_remainder(formula: Formula, call: dict[str, Any]) -> Array:
    """dX with the rows and columns that no window reaches in front instead of at the end."""
    short = _drops_remainder(formula, call)
    dx = np.zeros(call["input_shape"])
    dx[:, :, dx.shape[2] - short.shape[2] :, dx.shape[3] - short.shape[3] :] = short
    return dx


def _first_group(call: dict[str, Any]) -> dict[str, Any]:
    """Every group uses the filters of the first."""
    weight = call["weight"]
    members = len(weight) // call["groups"]
    return {**call, "weight": np.concatenate([weight[:members]] * call["groups"])}


def _first_channels(call: dict[str, Any]) -> dict[str, Any]:
    """Every group reads the input channels of the first."""
    x = call["x"]
    depth = x.shape[1] // call["groups"]
    return {**call, "x": np.concatenate([x[:, :depth]] * call["groups"], axis=1)}


def _first_bias(call: dict[str, Any]) -> dict[str, Any]:
    """Every group adds the bias of the first."""
    bias = call["bias"]
    if bias is None:
        return call
    return {**call, "bias": np.resize(bias[: len(bias) // call["groups"]], bias.shape)}


def _first_image(formula: Formula, call: dict[str, Any]) -> Array:
    """Every image gets the answer of the first."""
    answer = evaluate(formula, call)
    return np.repeat(answer[:1], len(answer), axis=0)


def _some_images(chosen: slice) -> Wrong:
    """A gradient summed over some of the images only."""
    return lambda formula, call: evaluate(formula, images(call, chosen))


def _divided(by: Callable[[Call], float]) -> Wrong:
    return lambda formula, call: evaluate(formula, call) / by(call)


def _over_filter_size(formula: Formula, call: dict[str, Any]) -> Array:
    """002's dW: the sum over output pixels stops at the filter's size."""
    dy = call["grad_output"].copy()
    dy[:, :, call["weight_shape"][2] :] = 0
    dy[:, :, :, call["weight_shape"][3] :] = 0
    return evaluate(formula, {**call, "grad_output": dy})


def _overwrites(formula: Formula, call: dict[str, Any]) -> Array:
    """dX where the last window that reaches a pixel is stored instead of added."""
    dx = np.zeros(call["input_shape"])
    dy = call["grad_output"]
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            alone, here = np.zeros_like(dy), np.zeros_like(dy)
            alone[:, :, i, j], here[:, :, i, j] = dy[:, :, i, j], 1
            reached = evaluate(formula, {
                **call, "grad_output": here, "weight": np.ones_like(call["weight"]),
            }) != 0  # fmt: skip
            dx[reached] = evaluate(formula, {**call, "grad_output": alone})[reached]
    return dx


def _without(name: str) -> Bend:
    return lambda call: {**call, name: None}


def _skips_edge(formula: Formula, call: dict[str, Any]) -> Array:
    """The forward pass with zeros where a window leaves the image."""
    y = evaluate(formula, call)
    ones = {"x": np.ones_like(call["x"]), "weight": np.ones_like(call["weight"]), "bias": None}
    inside = evaluate(formula, {**call, **ones}) == np.prod(call["weight"].shape[1:])
    return np.where(inside, y, 0)


MISCONCEPTIONS = (
    Misconception("the kernel is flipped, as 001's last display prints it: dY is read at "
                  "(h-p, w-q) already, so it flips twice (the forward pass is a cross-correlation)",
                  (DX,), bent(reversed_axes("weight", 2, 3))),
    Misconception("the kernel is flipped: a convolution in the mathematical sense, where the "
                  "protocol's is a cross-correlation", (FORWARD,),
                  bent(reversed_axes("weight", 2, 3))),
    Misconception("the kernel is flipped in its height only", ALL[:2],
                  bent(reversed_axes("weight", 2))),
    Misconception("the kernel is flipped in its width only", ALL[:2],
                  bent(reversed_axes("weight", 3))),
    Misconception("the kernel's height and width are exchanged", ALL[:2],
                  bent(lambda c: {**c, "weight": c["weight"].swapaxes(2, 3)})),
    Misconception("dY is read flipped in both axes", (DX, DW),
                  bent(reversed_axes("grad_output", 2, 3))),
    Misconception("x is read flipped in both axes", (FORWARD, DW), bent(reversed_axes("x", 2, 3))),
    Misconception("the result is flipped in both kernel axes", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, ::-1, ::-1]),
    Misconception("the result is flipped in its kernel height only", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, ::-1]),
    Misconception("the result is flipped in its kernel width only", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, :, ::-1]),
    *(
        Misconception(sentence.format(name), ALL, bent(option(name, change)))
        for name in ("stride", "padding", "dilation")
        for sentence, change in (
            ("the height's {} is used for the width and the width's for the height", swapped),
            ("the height's {} is used for the width as well", first_twice),
            ("the width's {} is used for the height as well", second_twice),
        )
    ),
    Misconception("the stride is ignored", ALL, bent(option("stride", lambda _: (1, 1)))),
    Misconception("the dilation is ignored", ALL, bent(option("dilation", lambda _: (1, 1)))),
    Misconception("the padding is ignored", ALL, bent(option("padding", lambda _: (0, 0)))),
    Misconception("stride and dilation are exchanged", ALL,
                  bent(lambda c: {**c, "stride": c["dilation"], "dilation": c["stride"]})),
    Misconception("the padding is not removed from the gradient: its first H rows and W columns "
                  "are returned", (DX,), _leaves_padding_in_place),
    Misconception("the padding is not removed from the gradient", (DX,), _keeps_padding),
    Misconception("the last rows and columns that no window reaches are missing: 002's backward "
                  "size holds for stride 1 only", (DX,), _drops_remainder),
    Misconception("the rows and columns that no window reaches are put in front instead of at "
                  "the end", (DX,), _shifts_by_remainder),
    Misconception("the groups are ignored: every group uses the filters of the first",
                  (FORWARD, DX), bent(_first_group)),
    Misconception("the groups are ignored: every group reads the input channels of the first",
                  (FORWARD, DW), bent(_first_channels)),
    Misconception("overlapping windows overwrite each other instead of adding up", (DX,),
                  _overwrites),
    Misconception("windows that reach into the padding are skipped", (FORWARD,), _skips_edge),
    Misconception("the bias is left out", (FORWARD,), bent(_without("bias"))),
    Misconception("the bias is left out where there are groups", (FORWARD,),
                  bent(lambda c: c if c["groups"] == 1 else {**c, "bias": None})),
    Misconception("every group adds the bias of the first", (FORWARD,), bent(_first_bias)),
    Misconception("every image gets the answer of the first", (FORWARD, DX), _first_image),
    Misconception("the bias is subtracted", (FORWARD,),
                  bent(lambda c: {**c, "bias": None if c["bias"] is None else -c["bias"]})),
    Misconception("the sum over output pixels stops at the filter's size, as 002 prints it", (DW,),
                  _over_filter_size),
    Misconception("the gradient is averaged over the batch instead of summed (003 divides by the "
                  "batch size; that belongs to the loss)", (DW, DB),
                  _divided(lambda c: len(c["grad_output"]))),
    Misconception("the gradient is averaged over the output pixels", (DW, DB),
                  _divided(lambda c: float(np.prod(c["grad_output"].shape[2:])))),
    Misconception("the gradient is averaged over batch and output pixels", (DW, DB),
                  _divided(lambda c: c["grad_output"].size / c["grad_output"].shape[1])),
    Misconception("only the first image counts", (DW, DB), _some_images(slice(0, 1))),
    Misconception("only the last image counts", (DW, DB), _some_images(slice(-1, None))),
    Misconception("the last image is left out", (DW, DB), _some_images(slice(0, -1))),
    Misconception("the sign is wrong", (*ALL, DB), lambda f, c: -evaluate(f, c)),
    Misconception("the answer is all zeros", (*ALL, DB), lambda f, c: 0 * evaluate(f, c)),
)  # fmt: skip


def explain(formula: Formula, evidence: Sequence[Answer]) -> list[str]:
    """Return the sentences of the misconceptions that explain every wrong answer of `evidence`.

    Where the backend is right, a misconception may give nothing, or a result of another shape
    (somebody may catch that), but no other numbers.
    """
    answers = [(a, _right(a)) for a in evidence if a.formula is formula and a.value is not None]
    return [
        m.sentence
        for m in MISCONCEPTIONS
        if formula.__name__ in m.functions
        and any(not _same(a.value, right) for a, right in answers)
        and all(_fits(m.answer(formula, a.call), a.value, right) for a, right in answers)
    ]


def _right(answer: Answer) -> Array:
    return truth(answer.formula, answer.call).as_float(np.dtype(np.float64))


def _fits(given: Array | None, got: Array | None, right: Array) -> bool:
    """Whether what a misconception gives goes together with what the backend gave."""
    if _same(got, right):
        return given is None or given.shape != right.shape or _same(given, right)
    return _same(got, given)


def _same(got: Array | None, want: Array | None) -> bool:
    """Whether two arrays are equal, up to how a quotient may be rounded."""
    if got is None or want is None or got.shape != want.shape or got.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):
        return bool((abs(got - want) <= 2 * np.finfo(got.dtype).eps * abs(want)).all())


def is_evidence(answer: Answer) -> bool:
    """Whether an answer is worth keeping: small, and on integers, where equality says something."""
    if answer.value is None or answer.value.size > 2000:
        return False
    arrays = operands(answer.formula, answer.call).values()
    return all(a.size <= 2000 and (a == np.rint(a)).all() for a in arrays)
