"""The losses beside the cross-entropy of softmax: their records, with PyTorch's functions."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradoracle.conformance.drawing.values import Arrays, Random, Shapes, normal, styles
from gradoracle.conformance.operators.loss import (
    equal_logits,
    far_apart,
    large_logits,
    minus_infinity,
    moderate,
    one_infinite_logit,
    rows_far_apart,
)
from gradoracle.conformance.operators.of_formula import NUMBERS, of_formula
from gradoracle.conformance.operators.record import Operator, Policies
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.derive import GRAD_OUTPUT, Derived
from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.formulas import further_losses as losses
from gradoracle.oracle.shapes import Shape

REDUCTIONS = ("mean", "sum", "none")
IGNORED = (-100, 0, 1, 2)
SMOOTHING = (0.0, 0.1, 1.0, 0.5)
SHARES = 64  # into which rows of probabilities are divided: exact in every format
ROWS = (("ten classes", (10,)), ("ImageNet classes", (100,)), ("one number", (1,)))


def _reduced(options: Mapping[str, Any], shapes: Mapping[str, Shape | None]) -> Shape:
    """Return the shape of a loss: of every element or row, or of one number."""
    return (shapes[GRAD_OUTPUT] or ()) if options["reduction"] == "none" else ()


def _loss(derived: Derived, **how: Any) -> Any:
    options = {"reduction": REDUCTIONS, **how.pop("options", {})}
    witness = how.pop("witness", derived.forward.__name__)
    return of_formula(
        derived, witness, options=options, result=_reduced, layers=ROWS, least={"n": 1}, **how
    )


def saturated(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Logits of 4 to 40 on the side that their targets, 0 or 1, say: all losses are small.

    In every other call all targets are 1: below 0, (1 - t) x is as large as what is added to it.
    """
    found = normal(random, shapes, limits)
    least = random.integers(0, 2)
    found["target"] = random.integers(least, 2, shapes["target"]).astype(float)
    found["input"] = random.uniform(4, 40, shapes["input"]) * (2 * found["target"] - 1)
    return found


def padded_rows(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal numbers, but a third of the rows of logits are NaN, as padding may be.

    Of two rows or more one is NaN at least.
    """
    found = normal(random, shapes, limits)
    rows = len(found["input"])
    padded = random.permutation(rows)[: max(1, rows // 3) if rows > 1 else 0]
    found["input"][padded] = np.nan
    return found


def _probabilities(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with a target between 0 and 1, and weights that are not negative."""
    del seed
    target = call["target"]
    with np.errstate(all="ignore"):
        size = abs(target)
        inside = np.where(size > 1, 1 / size, size).astype(target.dtype)
    weight = call["pos_weight"]
    return {**call, "target": inside, "pos_weight": None if weight is None else abs(weight)}


def _distribution(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with a target that is not negative, or small if it is a logarithm."""
    del seed
    target = call["target"]
    if call["log_target"]:
        return {**call, "target": np.clip(target, -64, 3).astype(target.dtype)}
    return {**call, "target": abs(target)}


def _classes(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with classes as targets, of which one at least counts, and their weights."""
    rows, classes = call["input"].shape
    ignored = call["ignore_index"]
    target = call.get("target")
    if target is None or target.dtype != np.int64 or target.shape != (rows,):
        random = np.random.default_rng(seed)
        target = random.permutation(max(rows, classes))[:rows] % classes
        target[random.integers(0, 4, rows) == 0] = ignored
    others = [n for n in range(classes) if n != ignored]
    if not others:  # the only class there is
        call, others = {**call, "ignore_index": -100}, [0]
    target = np.where((target >= classes) | (target < 0), call["ignore_index"], target)
    if not (target != call["ignore_index"]).any():
        target = np.where(np.arange(rows) == 0, others[0], target)
    weight = call["weight"]
    if weight is not None:  # of no class is it 0, or the mean may be over nothing
        weight = np.where(weight == 0, weight.dtype.type(1), abs(weight))
    return {**call, "target": target.astype(np.int64), "weight": weight}


def _of_logits(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with classes as targets, of which none is impossible.

    Where labels are smoothed, all classes are possible, for each is part of the loss.  Of three
    calls of four the rows with a NaN are ignored, unless those are all.
    """
    drawn = np.asarray(call.get("target", 0.0)).dtype != np.int64
    call = _classes(call, seed)
    unknown = np.isnan(call["input"]).any(1)
    if drawn and seed % 4 and not unknown.all():
        target = np.where(unknown, call["ignore_index"], call["target"])
        call = _classes({**call, "target": target}, seed)
    logits, target = call["input"], call["target"]
    needed = np.arange(logits.shape[1]) == np.where(target < 0, 0, target)[:, np.newaxis]
    impossible = np.isneginf(logits) & (needed | (call["label_smoothing"] > 0))
    return {**call, "input": np.where(impossible, logits.dtype.type(0), logits)}


def _probabilities_of_classes(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with rows of probabilities as targets, whose sums are exactly 1."""
    target, weight = call["target"], call["weight"]
    wide = target.astype(np.float64)
    unknown = np.isnan(wide)
    with np.errstate(all="ignore"):
        fits = unknown.any(1) | ((wide >= 0).all(1) & (wide.sum(1) == 1))
    if not fits.all():
        random = np.random.default_rng(seed)
        odds = random.dirichlet(np.full(target.shape[1], 0.5), len(target))
        drawn = random.multinomial(SHARES, odds) / SHARES
        wide = np.where(fits[:, np.newaxis], wide, drawn)
    target = wide.astype(target.dtype)
    return {**call, "target": target, "weight": None if weight is None else abs(weight)}


def _nll(torch: Any) -> Callable[..., Any]:
    def nll_loss(
        input: Any, target: Any, weight: Any = None, *, ignore_index: int, reduction: str
    ) -> Any:
        return torch.nn.functional.nll_loss(
            input, target, weight, ignore_index=ignore_index, reduction=reduction
        )

    return nll_loss


def _kl_div(torch: Any) -> Callable[..., Any]:
    def kl_div(input: Any, target: Any, *, reduction: str, log_target: bool) -> Any:
        of = torch.nn.functional.kl_div
        if reduction == "mean":  # of PyTorch's own, with a warning that it is not the batch's
            return of(input, target, reduction="none", log_target=log_target).mean()
        return of(input, target, reduction=reduction, log_target=log_target)

    return kl_div


def _bce(torch: Any) -> Callable[..., Any]:
    def binary_cross_entropy_with_logits(
        input: Any, target: Any, pos_weight: Any = None, *, reduction: str
    ) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(
            input, target, pos_weight=pos_weight, reduction=reduction
        )

    return binary_cross_entropy_with_logits


def _kinked(operator: Operator, *names: str) -> Operator:
    """Return the record, whose slopes are not checked where one of these arrays has a NaN."""

    def unsettled(policies: Policies, formula: Formula, call: Call) -> bool:
        del policies
        slopes = operator.argument_of(formula) is not None
        return slopes and any(np.isnan(call[n]).any() for n in names)

    return replace(operator, unsettled=unsettled)


MSE_LOSS = _loss(losses.mse_loss)
L1_LOSS = _kinked(_loss(losses.l1_loss), "input", "target")
HUBER_LOSS = _kinked(
    _loss(losses.huber_loss, options={"delta": (1.0, 0.5, 3.0)}), "input", "target"
)
KL_DIV = replace(
    _kinked(
        _loss(losses.kl_div, options={"log_target": (False, True)}, complete=_distribution),
        "target",
    ),
    witness=_kl_div,
)
BCE_WITH_LOGITS = replace(
    _loss(
        losses.binary_cross_entropy_with_logits, complete=_probabilities,
        numbers=replace(NUMBERS, floats=(*NUMBERS.floats, *styles(saturated))),
    ),
    witness=_bce,
)  # fmt: skip
NLL_LOSS = replace(
    _loss(losses.nll_loss, options={"ignore_index": IGNORED}, complete=_classes), witness=_nll
)
OF_LOGITS = styles(moderate, large_logits, rows_far_apart, far_apart, equal_logits)
LOGITS = replace(
    NUMBERS,
    floats=(*NUMBERS.floats, *OF_LOGITS),
    not_finite=(*NUMBERS.not_finite, *styles(one_infinite_logit)),
)
CROSS_ENTROPY_LOSS = _loss(
    losses.cross_entropy_loss, witness="cross_entropy", complete=_of_logits,
    options={"label_smoothing": SMOOTHING, "ignore_index": IGNORED},
    numbers=replace(
        LOGITS,
        floats=(*LOGITS.floats, *styles(minus_infinity)),
        not_finite=(*LOGITS.not_finite, *styles(padded_rows)),
    ),
    share=1.0,  # of the few calls with a NaN, most have one row: padding is met in the others
)  # fmt: skip
SOFT_TARGET_CROSS_ENTROPY = _loss(
    losses.soft_target_cross_entropy, witness="cross_entropy", complete=_probabilities_of_classes,
    options={"label_smoothing": SMOOTHING}, numbers=LOGITS,
)  # fmt: skip

LOSSES = (
    BCE_WITH_LOGITS, CROSS_ENTROPY_LOSS, HUBER_LOSS, KL_DIV, L1_LOSS, MSE_LOSS, NLL_LOSS,
    SOFT_TARGET_CROSS_ENTROPY,
)  # fmt: skip
