"""The normalisations: their records, with PyTorch's functions as witnesses."""

from collections.abc import Callable
from typing import Any

from gradoracle.conformance.operators.of_formula import Sizes, of_formula
from gradoracle.oracle.formulas import normalisation

EPS = (1e-5, 1e-3, 1e-12, 1.0)
# Channels, rows and columns as networks have them.
PLANES = (("ResNet layer4", (16, 3, 3)), ("U-Net", (8, 4, 6)), ("one pixel", (24, 1, 1)))
TOKENS = (("one token", (1, 48)), ("a head of attention", (7, 16)), ("an odd width", (3, 33)))


def _divisors(sizes: Sizes) -> list[int]:
    channels = max(1, sizes["c"])
    return [n for n in range(1, channels + 1) if channels % n == 0]


def _positive_variance(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with a running variance that can be one."""
    del seed
    return {**call, "running_var": abs(call["running_var"])}


def _layer_norm(torch: Any) -> Callable[..., Any]:
    def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
        return torch.nn.functional.layer_norm(x, x.shape[2:], weight, bias, eps)

    return layer_norm


def _rms_norm(torch: Any) -> Callable[..., Any]:
    def rms_norm(x: Any, weight: Any = None, *, eps: float) -> Any:
        return torch.nn.functional.rms_norm(x, x.shape[2:], weight, eps)

    return rms_norm


def _batch_norm(torch: Any) -> Callable[..., Any]:
    def batch_norm(
        x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, *,
        training: bool, eps: float,
    ) -> Any:  # fmt: skip
        if training:  # else it would change them, and refuse one number for each channel
            found, *_ = torch.native_batch_norm(x, weight, bias, None, None, training, 0.0, eps)
            return found
        return torch.nn.functional.batch_norm(
            x, running_mean, running_var, weight, bias, training=False, eps=eps
        )

    return batch_norm


def _batch_norm_update(torch: Any) -> Callable[..., Any]:
    def batch_norm_update(
        x: Any, running_mean: Any, running_var: Any, *, momentum: float
    ) -> tuple[Any, Any]:
        mean, var = running_mean.clone(), running_var.clone()
        torch.nn.functional.batch_norm(x, mean, var, training=True, momentum=momentum)
        return mean, var

    return batch_norm_update


def _instance_norm(torch: Any) -> Callable[..., Any]:
    def instance_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
        # of x.shape[1] groups: PyTorch's own refuses planes of one pixel
        return _group_norm(torch)(x, weight, bias, num_groups=x.shape[1], eps=eps)

    return instance_norm


def _group_norm(torch: Any) -> Callable[..., Any]:
    def group_norm(
        x: Any, weight: Any = None, bias: Any = None, *, num_groups: int, eps: float
    ) -> Any:
        if bias is not None and weight is None:  # an error of PyTorch's, going back
            weight = torch.ones_like(bias)
        return torch.group_norm(x, num_groups, weight, bias, eps)

    return group_norm


BATCH_NORM = of_formula(
    normalisation.batch_norm, _batch_norm, options={"training": (True, False), "eps": EPS},
    complete=_positive_variance, layers=PLANES, least={"n": 1},
)  # fmt: skip
BATCH_NORM_UPDATE = of_formula(
    normalisation.batch_norm_update, _batch_norm_update,
    options={"momentum": (0.1, 0.5, 0.01, 1.0)}, complete=_positive_variance, layers=PLANES,
    least={"n": 2},
)  # fmt: skip
GROUP_NORM = of_formula(
    normalisation.group_norm, _group_norm, options={"num_groups": _divisors, "eps": EPS},
    layers=PLANES,
)  # fmt: skip
INSTANCE_NORM = of_formula(
    normalisation.instance_norm, _instance_norm, options={"eps": EPS}, layers=PLANES
)
LAYER_NORM = of_formula(normalisation.layer_norm, _layer_norm, options={"eps": EPS}, layers=TOKENS)
RMS_NORM = of_formula(normalisation.rms_norm, _rms_norm, options={"eps": EPS}, layers=TOKENS)

NORMALISATIONS = (BATCH_NORM, BATCH_NORM_UPDATE, GROUP_NORM, INSTANCE_NORM, LAYER_NORM, RMS_NORM)
