"""Formulas under another convention than the protocol's own, as a backend's contract may claim it.

relu and leaky_relu have no derivative at 0: any number from the slope of the negative side to that
of the positive side is a subgradient.  Equal maxima of a window may share its gradient.  A NaN may
be no maximum at all, as where maxima are found by comparing with > or by fmax; activations that are
a maximum, or lie between two limits, are then a limit there.  The diagonal of a
causal mask may end at the last row and key, as FlashAttention's does, not begin at the first, and
what its products hand on may be rounded to the arrays' dtype.
"""

from collections.abc import Callable, Mapping
from math import lcm, prod
from typing import Any

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import (
    Call,
    Division,
    Formula,
    axes_of,
    composed,
    declare_axes,
    evaluate,
    is_data,
    multilinear,
    selection,
)
from gradoracle.oracle.derive import as_claimed, every_formula, instead, with_ties
from gradoracle.oracle.float_formats import name_of
from gradoracle.oracle.formulas.activations import each_element, leaky_relu_grad, relu, relu_grad
from gradoracle.oracle.formulas.adaptive_max_pool import (
    ADAPTIVE_MAX_POOLINGS,
    AdaptiveWindows,
    adaptive_windows,
    maxima_of,
)
from gradoracle.oracle.formulas.attention import (
    ALIGNED_TO_THE_END,
    BOTTOM_RIGHT,
    scaled_dot_product_attention,
    with_operands_in,
)
from gradoracle.oracle.formulas.cross_entropy import (
    cross_entropy,
    cross_entropy_grad,
    unshifted_cross_entropy,
    unshifted_cross_entropy_grad,
)
from gradoracle.oracle.formulas.further_activations import hardsigmoid, hardtanh, log_softmax, relu6
from gradoracle.oracle.formulas.further_losses import cross_entropy_loss, soft_target_cross_entropy
from gradoracle.oracle.formulas.max_pool import MAX_POOLINGS, vjp_windows
from gradoracle.oracle.formulas.normalisation import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
)
from gradoracle.oracle.numbers.ways import ONE_SWEEP, UNSHIFTED
from gradoracle.oracle.ranks import RANKS, named
from gradoracle.oracle.shapes import Array, Sides
from gradoracle.oracle.windows import flat

AT_ZERO = (0.5, 1)  # beside 0: the share of the positive side's slope


def relu_grad_at_zero(share: float) -> Formula:
    """Return relu's gradient with relu'(0) = `share`."""

    @selection(images="kept", pointwise=True)
    def gradient(grad_output: Array, z: Array) -> Array:
        def of(dy: Any, v: Any) -> Any:
            if v > 0:
                return dy
            return dy * share if v == 0 else 0

        return each_element(of, grad_output, z)

    gradient.__doc__ = f"""Return dz = dE/dz from dy and z, of the same shape.

        dz = dy where z > 0, {share:g} dy where z = 0, else 0

    (002, dL/dZ = dL/dY f'(Z); f'(0) = {share:g}, as the contract's relu_at_zero says).
    """
    return gradient


def leaky_relu_grad_at_zero(share: float) -> Formula:
    """Return leaky_relu's gradient, at 0 `share` of the way from negative_slope to 1."""

    @composed(images="kept", pointwise=True)
    def gradient(grad_output: Array, z: Array, *, negative_slope: float) -> Array:
        def of(dy: Any, v: Any) -> Any:
            if v > 0:
                return dy
            if v < 0:
                return dy * negative_slope
            # As an estimate this errs by no less than dy times the sum of both.
            return dy * share + dy * ((1 - share) * negative_slope) if share < 1 else dy

        return each_element(of, grad_output, z)

    gradient.__doc__ = f"""Return dz = dE/dz from dy and z, of the same shape.

        dz = dy where z > 0, negative_slope * dy where z < 0,
             ({1 - share:g} negative_slope + {share:g}) * dy where z = 0

    (002, dL/dZ = dL/dY f'(Z); f'(0) as the contract's leaky_relu_at_zero says).
    """
    return gradient


def max_pool_vjp_split(rank: int) -> Formula:
    """Return the gradient of a max pooling whose equal maxima share it equally."""

    def counts(call: Call) -> Division:
        """Return what the numbers of equal maxima divide, and how many windows meet a pixel."""
        options = {n: call[n] for n in OPTIONS}
        x = np.asarray(call["x"], np.float64)
        places, start, pixel = vjp_windows(rank, x, **options)
        found = np.ones(places.shape, np.int64)
        flat(found)[...] = _winners(flat(x), flat(places), start.array, pixel.array)
        return Division(lcm(*np.unique(found).tolist()), prod(call["kernel_size"]))

    @multilinear("grad_output", images="kept", over=counts)
    @named("max_pool2d_vjp", rank)
    def vjp(
        grad_output: Array,
        x: Array,
        *,
        kernel_size: Sides,
        stride: Sides,
        padding: Sides,
        dilation: Sides,
        ceil_mode: bool,
    ) -> Array:
        """Return dx = dE/dx [N, C, H, W] from dy [N, C, OH, OW] and x; equal maxima share a dy.

            dx[n,c,h,w] = sum of dy[n,c,i,j] / k over the windows whose maximum is x[n,c,h,w],
                          k being how many pixels of the window equal it

        (003, as `max_pool2d_vjp`; shared as the contract's ties: split says).  A NaN takes
        all, the first of several.  dtype follows dy.
        """
        places, start, pixel = vjp_windows(
            rank, x, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
            ceil_mode=ceil_mode, like=grad_output,
        )  # fmt: skip
        dx = np.zeros(x.shape, grad_output.dtype)
        given = flat(grad_output), flat(x), flat(places), start, pixel
        run(_share_out, flat(dx), *given, products=places.size * prod(kernel_size), mixed=True)
        return dx

    return vjp


def adaptive_max_pool_vjp_split(rank: int) -> Formula:
    """Return the gradient of a max pooling to a given size whose equal maxima share it equally."""

    def counts(call: Call) -> Division:
        """Return what the numbers of equal maxima divide, and how many windows meet a pixel."""
        x = np.asarray(call["x"], np.float64)
        places, windows = _adaptive(rank, call["grad_output"], x)
        found = np.ones(places.shape, np.int64)
        start, pixel = (one.array for one in windows)
        flat(found)[...] = _winners(flat(x), flat(places), start, pixel)
        return Division(lcm(*np.unique(found).tolist()), int(np.bincount(pixel).max()))

    @multilinear("grad_output", images="kept", over=counts)
    @named("adaptive_max_pool2d_vjp", rank)
    def vjp(grad_output: Array, x: Array) -> Array:
        """Return dx = dE/dx [N, C, H, W] from dy [N, C, OH, OW] and x; equal maxima share a dy.

            dx[n,c,h,w] = sum of dy[n,c,i,j] / k over the windows whose maximum is x[n,c,h,w],
                          k being how many pixels of the window equal it

        (PyTorch, torch.nn.AdaptiveMaxPool2d; shared as the contract's ties: split says).  A NaN
        takes all, the first of several.  dtype follows dy.
        """
        places, windows = _adaptive(rank, grad_output, x)
        dx = np.zeros(x.shape, grad_output.dtype)
        given = flat(grad_output), flat(x), flat(places), *windows
        products = len(x) * windows.pixel.array.size
        run(_share_out, flat(dx), *given, products=products, mixed=True)
        return dx

    return vjp


def _adaptive(rank: int, grad_output: Array, x: Array) -> tuple[Array, AdaptiveWindows]:
    """Return the places of all maxima, and the windows."""
    places = maxima_of(rank, grad_output, x)
    return places, adaptive_windows(x.shape[2:], places.shape[2:])


def _winners(x: Array, places: Array, start: Array, pixel: Array) -> Array:
    """Return how many pixels of every window equal its maximum; 1 where that is NaN."""
    windows = np.repeat(np.arange(len(start) - 1), np.diff(start))
    top = np.take_along_axis(x, places, 2)
    equal = (x[:, :, pixel] == top[:, :, windows]).astype(np.int64)
    found = np.add.reduceat(equal, start[:-1], axis=2) if equal.size else np.ones_like(places)
    return np.maximum(found, 1)


def _share_out(dx: Array, dy: Array, x: Array, places: Array, start: Any, pixel: Any) -> None:
    images, channels, windows = dy.shape
    for n in range(images):
        for c in range(channels):
            for i in range(windows):
                best = places[n, c, i]
                top, equal = x[n, c, best], 0
                for k in range(start[i], start[i + 1]):
                    if x[n, c, pixel[k]] == top:
                        equal += 1
                if equal == 0:  # a NaN, which equals nothing
                    dx[n, c, best] += dy[n, c, i]
                for k in range(start[i], start[i + 1]):
                    if x[n, c, pixel[k]] == top:
                        dx[n, c, pixel[k]] += dy[n, c, i] / equal


OPTIONS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
# The formula that is right instead, by formula, the contract's policy and its rule.
VARIANTS: dict[tuple[Formula, str, Any], Formula] = {
    **{(relu_grad, "relu_at_zero", s): relu_grad_at_zero(s) for s in AT_ZERO},
    **{(leaky_relu_grad, "leaky_relu_at_zero", s): leaky_relu_grad_at_zero(s) for s in AT_ZERO},
    **{(MAX_POOLINGS[r].vjp, "ties", "split"): max_pool_vjp_split(r) for r in RANKS},
    **{
        (ADAPTIVE_MAX_POOLINGS[r].vjp, "ties", "split"): adaptive_max_pool_vjp_split(r)
        for r in RANKS
    },
    **{
        (one, "causal", BOTTOM_RIGHT): other
        for one, other in instead(scaled_dot_product_attention, ALIGNED_TO_THE_END).items()
    },
}
VARIANTS |= {
    (one, "variance", ONE_SWEEP): as_claimed(one, ONE_SWEEP)
    for made in (batch_norm, group_norm, instance_norm, layer_norm)
    for one in every_formula(made)
}
VARIANTS |= {
    (one, "log_sum_exp", UNSHIFTED): as_claimed(one, UNSHIFTED)
    for made in (log_softmax, cross_entropy_loss, soft_target_cross_entropy)
    for one in every_formula(made)
}
VARIANTS |= {
    (cross_entropy, "log_sum_exp", UNSHIFTED): unshifted_cross_entropy,
    (cross_entropy_grad, "log_sum_exp", UNSHIFTED): unshifted_cross_entropy_grad,
}
for (_base, _, _), _variant in VARIANTS.items():
    _variant.__name__ = _variant.__qualname__ = _base.__name__
    declare_axes(axes_of(_base), _variant)
# Those of max pooling that look for maxima, and their variants.
OF_MAXIMA = (*MAX_POOLINGS.values(), *ADAPTIVE_MAX_POOLINGS.values())
SEEKING = frozenset(
    one
    for of in OF_MAXIMA
    for one in (of.values, of.indices, of.vjp, VARIANTS[of.vjp, "ties", "split"])
)
VALUES = frozenset(of.values for of in OF_MAXIMA)
LIMITED = frozenset((relu, relu6.forward, hardtanh.forward, hardsigmoid.forward))


def under(policies: Mapping[str, Any], formula: Formula, call: Call) -> tuple[Formula, Call]:
    """Return the formula and the call that give what is right by a contract's conventions."""
    if "ties" in policies:
        formula = with_ties(formula, policies["ties"])
    for policy, rule in policies.items():
        formula = VARIANTS.get((formula, policy, rule), formula)
    if policies.get("attention_operands") == "dtype":
        dtypes = (name_of(array.dtype) for array in call.values() if is_data(array))
        formula = with_operands_in(next(dtypes, "float64")).get(formula, formula)
    if policies.get("nan") == "dropped" and formula in SEEKING:
        return formula, {**call, "x": without_nan(call["x"])}
    if policies.get("nan") == "dropped" and formula in LIMITED:
        return formula, {**call, "z": without_nan(call["z"])}
    return formula, call


def without_nan(x: Array) -> Array:
    """Return an array with minus infinity, which wins over nothing, in place of NaN."""
    return np.where(np.isnan(x), x.dtype.type(-np.inf), x)


def right_of_nan(formula: Formula, call: Call, got: Array) -> Array:
    """Return which elements of an answer are right, too, where NaN may be dropped.

    A NaN of nothing but NaN; and of an activation the upper limit, which min(max(0, z), 6) has for
    a NaN if the minimum is taken first.
    """
    if formula in VALUES:
        return np.isnan(got) & are_all_nan(formula, call)
    if formula not in LIMITED:
        return np.zeros((), bool)
    z = call["z"]
    upper = evaluate(formula, {**call, "z": np.where(np.isnan(z), z.dtype.type(np.inf), z)})
    found: Array = np.isnan(z) & (np.isnan(got) | (np.isfinite(upper) & (got == upper)))
    return found


def are_all_nan(formula: Formula, call: Call) -> Array:
    """Return which windows of a max pooling hold nothing but NaN, one entry per window."""
    x = np.where(np.isnan(call["x"]), -np.inf, 0.0)
    values = next(of.values for of in OF_MAXIMA if formula in of)
    return np.isneginf(evaluate(values, {**call, "x": x}))


def function_under(policies: Mapping[str, Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the oracle as it is by a contract's conventions."""
    found = under({**policies, "nan": "first"}, function, {})[0]
    seeks = {function} & {*LIMITED, *(one for of in OF_MAXIMA for one in (of.forward, of.vjp))}
    if policies.get("nan") != "dropped" or not seeks:
        return found

    def dropping(*arrays: Array, **options: Any) -> Any:
        *others, x = arrays
        return found(*others, without_nan(x), **options)

    return dropping
