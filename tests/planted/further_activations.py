"""Planted faults and controls of the further activations, from GELU to hardswish.

Each fault is a function of z and the options, or of dy, z and the options, in one line.
"""

from collections.abc import Callable
from math import erf as erf_of
from math import erfc as erfc_of
from math import sqrt
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import Fault, add, checked, control, half, single

Array = Any
_erf, _erfc = (np.frompyfunc(f, 1, 1) for f in (erf_of, erfc_of))


def erf(z: Array) -> Array:
    return np.asarray(_erf(z.astype("f8")), "f8").astype(z.dtype)


def s(z: Array) -> Array:
    """The logistic function, for all z."""
    e = np.exp(-abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def _inner(z: Array, root: float = sqrt(2 / np.pi), cube: float = 0.044715) -> Array:
    return root * (z + cube * (z * z * z))


def _by_tanh(z: Array, **constants: float) -> Array:
    return z * (1 + np.tanh(_inner(z, **constants))) / 2


def _tanh_slope(
    z: Array, cube: float = 0.044715, *, thrice: float = 3, square: Any = None
) -> Array:
    t = np.tanh(_inner(z))
    rise = (1 - t * t) if square is None else square(t)
    slope = (1 + t) / 2 + z * rise / 2 * (sqrt(2 / np.pi) * (1 + thrice * cube * z * z))
    return np.where(abs(t) == 1, (1 + t) / 2, slope)


def _where_tanh(function: str, wrong: Callable[[Array], Array]) -> Callable[..., Array]:
    """Return a GELU that is wrong where it is the one by tanh."""

    def made(*arrays: Array, approximate: str) -> Array:
        if approximate == "none":
            return getattr(good, function)(*arrays, approximate=approximate)
        return wrong(arrays[0]) if len(arrays) == 1 else arrays[0] * wrong(arrays[1])

    return made


def _where_erf(function: str, wrong: Callable[[Array], Array]) -> Callable[..., Array]:
    def made(*arrays: Array, approximate: str) -> Array:
        if approximate == "tanh":
            return getattr(good, function)(*arrays, approximate=approximate)
        return wrong(arrays[0]) if len(arrays) == 1 else arrays[0] * wrong(arrays[1])

    return made


def _density(z: Array, factor: float = 1 / sqrt(2 * np.pi)) -> Array:
    return np.exp(-(z * z) / 2) * factor


def _mish_by_powers(z: Array) -> Array:
    e = np.exp(z)
    n = e * (e + 2)
    return z * n / (n + 2)


def _mish_slope_by_powers(z: Array) -> Array:
    """The gradient of the paper's code: powers of e^z over squares of them."""
    e = np.exp(z)
    w = 4 * (z + 1) + 4 * e * e + e * e * e + e * (4 * z + 6)
    return e * w / np.square(2 * e + e * e + 2)


def _softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))


POLYNOMIAL = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def _erf_by_a_polynomial(z: Array) -> Array:
    """Abramowitz and Stegun 7.1.26, good to 1.5e-7."""
    t = 1 / (1 + 0.3275911 * abs(z))
    total = sum(a * t ** (n + 1) for n, a in enumerate(POLYNOMIAL))
    return np.sign(z) * (1 - total * np.exp(-z * z))


FAULTS: dict[str, tuple[str, str, Callable[..., Array]]] = {
    # GELU
    "gelu_is_always_by_tanh": ("option", "tenstorrent/tt-metal#1262",
        lambda z, *, approximate: good.gelu(z, approximate="tanh")),
    "gelu_is_always_by_erf": ("option", "tenstorrent/tt-metal#1262",
        lambda z, *, approximate: good.gelu(z, approximate="none")),
    "gelu_rounds_its_cubic_coefficient": ("constant", "",
        _where_tanh("gelu", lambda z: _by_tanh(z, cube=0.0447))),
    "gelu_has_eight_digits_of_the_root": ("constant", "flagos-ai/FlagGems#159",
        _where_tanh("gelu", lambda z: _by_tanh(z, root=0.79788456))),
    "gelu_has_ten_digits_of_a_half_root": ("constant", "flagos-ai/FlagGems#159",
        _where_erf("gelu", lambda z: z * (1 + erf(z * 0.7071067811)) / 2)),
    "gelu_takes_the_logistic_function": ("formula", "harvard-edge/cs249r_book#1154",
        _where_tanh("gelu", lambda z: z * s(1.702 * z))),
    "gelu_squares_where_it_should_cube": ("formula", "",
        _where_tanh("gelu", lambda z: z * (1 + np.tanh(
            sqrt(2 / np.pi) * (z + 0.044715 * z * z))) / 2)),
    "gelu_takes_erf_of_z": ("formula", "", _where_erf("gelu", lambda z: z * (1 + erf(z)) / 2)),
    "gelu_takes_erf_by_a_polynomial": ("precision", "",
        _where_erf("gelu", lambda z: z * (1 + _erf_by_a_polynomial(z * sqrt(0.5))) / 2)),
    "gelu_works_in_half_precision": ("precision", "",
        lambda z, *, approximate: half(good.gelu(half(z), approximate=approximate))),
    "gelu_works_in_float32": ("precision", "",
        lambda z, *, approximate: good.gelu(single(z).astype("f4"), approximate=approximate)
        .astype(z.dtype)),
    "gelu_grad_exchanges_the_formulas": ("option", "",
        lambda dy, z, *, approximate: good.gelu_grad(
            dy, z, approximate="none" if approximate == "tanh" else "tanh")),
    "gelu_grad_forgets_the_density": ("gradient", "",
        _where_erf("gelu_grad", lambda z: (1 + erf(z * sqrt(0.5))) / 2)),
    "gelu_grad_forgets_z_before_the_density": ("gradient", "",
        _where_erf("gelu_grad", lambda z: (1 + erf(z * sqrt(0.5))) / 2 + _density(z))),
    "gelu_grad_forgets_pi_in_the_density": ("constant", "",
        _where_erf("gelu_grad", lambda z: (1 + erf(z * sqrt(0.5))) / 2 + z * _density(z, 0.5))),
    "gelu_grad_has_ten_digits_of_a_constant": ("constant", "flagos-ai/FlagGems#159",
        _where_erf("gelu_grad", lambda z: (1 + erf(z * sqrt(0.5))) / 2
                   + z * _density(z, 0.3989422803))),
    "gelu_grad_forgets_the_3_of_the_cube": ("gradient", "",
        _where_tanh("gelu_grad", lambda z: _tanh_slope(z, thrice=1))),
    "gelu_grad_has_three_digits_of_a_constant": ("constant", "",
        _where_tanh("gelu_grad", lambda z: _tanh_slope(z, 0.0447))),
    "gelu_grad_does_not_square_tanh": ("gradient", "",
        _where_tanh("gelu_grad", lambda z: _tanh_slope(z, square=lambda t: 1 - t))),
    "gelu_grad_takes_dy_for_1": ("gradient", "",
        lambda dy, z, *, approximate: good.gelu_grad(
            np.ones_like(dy), z, approximate=approximate)),
    # SiLU
    "silu_overflows": ("overflow", "", lambda z: z * np.exp(z) / (1 + np.exp(z))),
    "silu_takes_the_logistic_function_of_minus_z": ("sign", "", lambda z: z * s(-z)),
    "silu_is_hardswish_far_out": ("formula", "",
        lambda z: np.where(abs(z) < 15, z * s(z), np.maximum(z, 0))),
    "silu_rounds_the_logistic_function": ("precision", "", lambda z: z * half(s(z))),
    "silu_grad_forgets_z": ("gradient", "", lambda dy, z: dy * (s(z) + s(z) * (1 - s(z)))),
    "silu_grad_forgets_one_less": ("gradient", "", lambda dy, z: dy * (s(z) + z * s(z))),
    "silu_grad_takes_the_slope_of_the_logistic_function": ("gradient", "",
        lambda dy, z: dy * (s(z) * (1 - s(z)))),
    "silu_grad_takes_y_for_z": ("gradient", "",
        lambda dy, z: dy * (s(z) * (1 + z * s(z) * (1 - s(z))))),
    "silu_grad_overflows": ("nan", "",
        lambda dy, z: dy * (np.exp(z) * (1 + z + np.exp(z)) / np.square(1 + np.exp(z)))),
    # ELU
    "elu_forgets_alpha": ("option", "", lambda z, *, alpha: good.elu(z, alpha=1.0)),
    "elu_takes_alpha_into_the_exponent": ("option", "",
        lambda z, *, alpha: np.where(z > 0, z, np.expm1(np.minimum(z, 0) * z.dtype.type(alpha)))),
    "elu_multiplies_by_a_mask": ("nan", "",
        lambda z, *, alpha: (z > 0) * z + (z <= 0) * z.dtype.type(alpha) * np.expm1(z)),
    "elu_subtracts_outside_alpha": ("formula", "",
        lambda z, *, alpha: np.where(z > 0, z, z.dtype.type(alpha) * np.exp(np.minimum(z, 0)) - 1)),
    "elu_takes_alpha_of_the_positive_side": ("option", "",
        lambda z, *, alpha: np.where(z > 0, z * z.dtype.type(alpha), np.expm1(np.minimum(z, 0)))),
    "elu_grad_forgets_alpha": ("option", "", lambda dy, z, *, alpha: good.elu_grad(
        dy, z, alpha=1.0)),
    "elu_grad_is_1_at_0": ("kink", "", lambda dy, z, *, alpha: np.where(
        z >= 0, dy, dy * (z.dtype.type(alpha) * np.exp(np.minimum(z, 0))))),
    "elu_grad_takes_y": ("gradient", "",
        lambda dy, z, *, alpha: np.where(z > 0, dy, dy * good.elu(z, alpha=alpha))),
    # softplus
    "softplus_forgets_beta": ("option", "",
        lambda z, *, beta, threshold: good.softplus(z, beta=1.0, threshold=threshold)),
    "softplus_does_not_divide_by_beta": ("option", "", lambda z, *, beta, threshold: np.where(
        z * z.dtype.type(beta) > threshold, z, _softplus(z * z.dtype.type(beta)))),
    "softplus_compares_z_with_the_threshold": ("option", "", lambda z, *, beta, threshold: np.where(
        z > threshold, z, _softplus(z * z.dtype.type(beta)) / z.dtype.type(beta))),
    "softplus_has_no_threshold": ("option", "", lambda z, *, beta, threshold:
        _softplus(z * z.dtype.type(beta)) / z.dtype.type(beta)),
    "softplus_overflows": ("overflow", "tracel-ai/burn#5373", lambda z, *, beta, threshold:
        (np.log(1 + np.exp(z * z.dtype.type(beta))) / z.dtype.type(beta))),
    "softplus_loses_small_numbers": ("precision", "sonots/cumo#481",
        lambda z, *, beta, threshold: np.where(
            z * z.dtype.type(beta) > threshold, z,
            np.log(1 + np.exp(z * z.dtype.type(beta))) / z.dtype.type(beta))),
    "softplus_grad_multiplies_by_beta": ("gradient", "", lambda dy, z, *, beta, threshold:
        good.softplus_grad(dy, z, beta=beta, threshold=threshold) * z.dtype.type(beta)),
    "softplus_grad_forgets_beta": ("option", "", lambda dy, z, *, beta, threshold:
        good.softplus_grad(dy, z, beta=1.0, threshold=threshold)),
    "softplus_grad_has_no_threshold": ("option", "", lambda dy, z, *, beta, threshold:
        dy * s(z * z.dtype.type(beta))),
    "softplus_grad_overflows": ("nan", "tracel-ai/burn#5373", lambda dy, z, *, beta, threshold:
        dy * (np.exp(z * z.dtype.type(beta)) / (1 + np.exp(z * z.dtype.type(beta))))),
    # mish
    "mish_overflows": ("nan", "hunglc007/tensorflow-yolov4-tflite#1", _mish_by_powers),
    "mish_loses_small_numbers": ("precision", "", lambda z: z * np.tanh(
        np.where(z > 20, z, np.log(1 + np.exp(np.minimum(z, 20)))))),
    "mish_forgets_the_logarithm": ("formula", "", lambda z: z * np.tanh(np.exp(np.minimum(z, 30)))),
    "mish_grad_overflows": ("nan", "digantamisra98/Mish", lambda dy, z:
        dy * _mish_slope_by_powers(z)),
    "mish_grad_forgets_the_logistic_function": ("gradient", "", lambda dy, z: dy * (
        np.tanh(_softplus(z)) + z * (1 - np.square(np.tanh(_softplus(z)))))),
    "mish_grad_does_not_square_tanh": ("gradient", "", lambda dy, z: dy * (
        np.tanh(_softplus(z)) + z * (1 - np.tanh(_softplus(z))) * s(z))),
    # logsigmoid
    "logsigmoid_takes_the_logarithm_of_0": ("overflow", "", lambda z: np.log(s(z))),
    "logsigmoid_overflows": ("overflow", "", lambda z: -np.log1p(np.exp(-z))),
    "logsigmoid_loses_small_numbers": ("precision", "",
        lambda z: np.minimum(z, 0) - np.log(1 + np.exp(-abs(z)))),
    "logsigmoid_adds_eps": ("precision", "", lambda z: np.log(s(z) + z.dtype.type(1e-10))),
    "logsigmoid_grad_is_that_of_minus_z": ("sign", "", lambda dy, z: dy * s(z)),
    "logsigmoid_grad_cancels": ("precision", "", lambda dy, z: dy * (1 - s(z))),
    "logsigmoid_grad_overflows": ("nan", "", lambda dy, z: dy * (np.exp(-z) / (1 + np.exp(-z)))),
    # the piecewise linear ones
    "hardtanh_has_ends_of_its_own": ("option", "",
        lambda z, *, min_val, max_val: np.clip(z, -1, 1).astype(z.dtype)),
    "hardtanh_drops_nan": ("nan", "", lambda z, *, min_val, max_val: np.fmin(
        np.fmax(z, z.dtype.type(min_val)), z.dtype.type(max_val))),
    "hardtanh_mirrors_the_upper_end": ("option", "", lambda z, *, min_val, max_val: np.clip(
        z, z.dtype.type(-max_val), z.dtype.type(max_val))),
    "hardtanh_grad_is_1_at_the_ends": ("kink", "", lambda dy, z, *, min_val, max_val: np.where(
        (z >= z.dtype.type(min_val)) & (z <= z.dtype.type(max_val)), dy, dy.dtype.type(0))),
    "hardtanh_grad_has_no_upper_end": ("option", "", lambda dy, z, *, min_val, max_val: np.where(
        z > z.dtype.type(min_val), dy, dy.dtype.type(0))),
    "hardtanh_grad_multiplies_by_z": ("gradient", "", lambda dy, z, *, min_val, max_val:
        good.hardtanh_grad(dy, z, min_val=min_val, max_val=max_val) * z),
    "relu6_has_no_upper_end": ("formula", "", lambda z: np.maximum(z, 0)),
    "relu6_drops_nan": ("nan", "", lambda z: np.fmin(np.fmax(z, 0), 6).astype(z.dtype)),
    "relu6_grad_has_no_upper_end": ("gradient", "", lambda dy, z: np.where(z > 0, dy, 0 * dy)),
    "relu6_grad_is_1_at_6": ("kink", "",
        lambda dy, z: np.where((z > 0) & (z <= 6), dy, dy.dtype.type(0))),
    "relu6_grad_is_1_at_0": ("kink", "",
        lambda dy, z: np.where((z >= 0) & (z < 6), dy, dy.dtype.type(0))),
    "hardsigmoid_is_that_of_keras": ("formula", "", lambda z: np.clip(
        z.dtype.type(0.2) * z + z.dtype.type(0.5), 0, 1).astype(z.dtype)),
    "hardsigmoid_is_not_divided": ("divisor", "", lambda z: np.clip(z + 3, 0, 6)),
    "hardsigmoid_has_ten_bits_of_a_sixth": ("constant", "",
        lambda z: np.clip(z + 3, 0, 6) * half(np.asarray(1 / 6, z.dtype))),
    "hardsigmoid_grad_is_not_divided": ("gradient", "",
        lambda dy, z: np.where(abs(z) < 3, dy, 0 * dy)),
    "hardsigmoid_grad_is_a_sixth_at_3": ("kink", "",
        lambda dy, z: np.where(abs(z) <= 3, dy / 6, 0 * dy)),
    "hardswish_forgets_z": ("formula", "", lambda z: np.clip(z + 3, 0, 6) / 6),
    "hardswish_has_no_upper_end": ("formula", "", lambda z: z * np.maximum(z + 3, 0) / 6),
    "hardswish_grad_forgets_the_2": ("gradient", "", lambda dy, z: np.where(
        z <= -3, 0 * dy, np.where(z >= 3, dy, dy * ((z + 3) / 6)))),
    "hardswish_grad_is_linear_past_3": ("gradient", "", lambda dy, z: np.where(
        z <= -3, 0 * dy, dy * ((2 * z + 3) / 6))),
    "hardswish_grad_is_not_0_at_minus_3": ("kink", "", lambda dy, z: np.where(
        z < -3, 0 * dy, np.where(z >= 3, dy, dy * ((2 * z + 3) / 6)))),
}  # fmt: skip
NAMES = ("elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "logsigmoid", "mish", "relu6",
         "silu", "softplus")  # fmt: skip


def _of(planted: str) -> str:
    name = next(n for n in NAMES if planted.startswith(n + "_"))
    return f"{name}_grad" if planted.startswith(f"{name}_grad_") else name


def _quietly(wrong: Callable[..., Array]) -> Callable[..., Array]:
    def made(*arrays: Array, **o: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(wrong(*arrays, **o), arrays[0].dtype)

    return made


for planted, (kind, seen, wrong) in FAULTS.items():
    of = _of(planted)
    add(planted, Fault(kind, of, lambda n=of, f=wrong: checked(n, _quietly(f)), seen))

RIGHT: dict[str, Callable[..., Array]] = {
    "gelu_by_erfc": _where_erf("gelu", lambda z: z / 2 * np.asarray(
        _erfc(-z.astype("f8") * sqrt(0.5)), "f8").astype(z.dtype)),
    "gelu_by_a_logistic_function": _where_tanh("gelu", lambda z: z * s(2 * _inner(z))),
    "gelu_grad_by_erfc": _where_erf("gelu_grad", lambda z: z * _density(z) + np.asarray(
        _erfc(-z.astype("f8") * sqrt(0.5)) / 2, "f8").astype(z.dtype)),
    "silu_as_a_quotient": lambda z: z / (1 + np.exp(-z)),
    "silu_grad_of_y": lambda dy, z: dy * (z * s(z) + s(z) * (1 - z * s(z))),
    "elu_by_an_exponential": lambda z, *, alpha: np.where(
        z > 0, z, z.dtype.type(alpha) * (np.exp(np.minimum(z, 0)) - 1)),
    "elu_by_maximum_and_minimum": lambda z, *, alpha: np.where(
        np.isnan(z), z, np.maximum(z, 0) + z.dtype.type(alpha) * np.expm1(np.minimum(z, 0))),
    "elu_grad_of_y": lambda dy, z, *, alpha: np.where(
        z > 0, dy, dy * (good.elu(z, alpha=alpha) + z.dtype.type(alpha))),
    "softplus_by_logaddexp": lambda z, *, beta, threshold: np.where(
        z * z.dtype.type(beta) > threshold, z,
        np.logaddexp(z.dtype.type(0), z * z.dtype.type(beta)) / z.dtype.type(beta)),
    "softplus_by_log1p_of_exp": lambda z, *, beta, threshold: np.where(
        z * z.dtype.type(beta) > threshold, z,
        np.log1p(np.exp(z * z.dtype.type(beta))) / z.dtype.type(beta)),
    "mish_by_few_powers": lambda z: np.where(z > 20, z, _mish_by_powers(np.minimum(z, 20))),
    "mish_by_log1p_of_exp": lambda z: z * np.tanh(
        np.where(z > 20, z, np.log1p(np.exp(np.minimum(z, 20))))),
    "logsigmoid_by_minimum": lambda z: np.minimum(z, 0) - np.log1p(np.exp(-abs(z))),
    "logsigmoid_by_logaddexp": lambda z: -np.logaddexp(z.dtype.type(0), -z),
    "logsigmoid_grad_as_a_quotient": lambda dy, z: dy / (1 + np.exp(z)),
    "hardtanh_by_maximum_and_minimum": lambda z, *, min_val, max_val: np.minimum(
        np.maximum(z, z.dtype.type(min_val)), z.dtype.type(max_val)),
    "hardtanh_by_where": lambda z, *, min_val, max_val: np.where(
        z <= z.dtype.type(min_val), z.dtype.type(min_val),
        np.where(z >= z.dtype.type(max_val), z.dtype.type(max_val), z)),
    "relu6_by_minimum_first": lambda z: np.maximum(np.minimum(z, 6), 0),
    "relu6_by_where": lambda z: np.where(z <= 0, 0, np.where(z >= 6, 6, z)),
    "hardsigmoid_by_a_sixth": lambda z: np.clip(z + 3, 0, 6) * z.dtype.type(1 / 6),
    "hardsigmoid_by_relu6": lambda z: good.relu6(z + 3) / 6,
    "hardswish_by_hardsigmoid": lambda z: z * (np.clip(z + 3, 0, 6) / 6),
    "hardswish_by_a_sixth": lambda z: z * np.clip(z + 3, 0, 6) * z.dtype.type(1 / 6),
}  # fmt: skip
for planted, right in RIGHT.items():
    made = _quietly(right)
    made.__name__ = planted
    control(made)
