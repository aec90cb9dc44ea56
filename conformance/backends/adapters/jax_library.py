"""JAX's own operators as the protocol has them: `jax.lax`, `jax.nn` and `jax.numpy`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from gradoracle.conformance.backends.adapters.jax_functions import adapt, imported

Options: TypeAlias = tuple[int, ...]
Pads: TypeAlias = list[tuple[int, int]]
NUMBERS = ("float32", "float64")
RANKS = ("1d", "2d", "3d")


def jax(_: str = "") -> SimpleNamespace:
    """Return the backend of JAX's operators, compiled for every shape.

    Raises:
        ImportError: there is no JAX.
    """
    library = imported()
    own = Functions(library)
    named = {
        f"{name}{rank}": getattr(own, name)
        for name in ("conv", "conv_transpose", "max_pool", "avg_pool")
        for rank in RANKS
    }
    plain = {
        "relu": library.nn.relu, "leaky_relu": own.leaky_relu, "sigmoid": library.nn.sigmoid,
        "tanh": own.tanh, "softmax": own.softmax, "linear": own.linear,
        "cross_entropy": own.cross_entropy, "batch_mean": own.batch_mean,
    }  # fmt: skip
    device = library.devices()[0]
    claims = {
        "runs_on": f"JAX {library.__version__}, {device.platform} {device.device_kind}",
        # On a CPU, NaN of one group of channels reaches the others.
        "policies": {"leaky_relu_at_zero": 1, "non_finite": "any"},
        "shapes": "expensive",
    }
    return adapt(dtypes=NUMBERS, contract=claims, **named, **plain)


class Functions:
    """The functions that JAX has in other words, of any number of spatial axes."""

    def __init__(self, jax: Any) -> None:
        """Keep the module, which is imported only where it is used."""
        self.lax, self.nn, self.numpy = jax.lax, jax.nn, jax.numpy

    def conv(
        self, x: Any, weight: Any, bias: Any = None, *, stride: Options, padding: Options,
        dilation: Options, groups: int,
    ) -> Any:  # fmt: skip
        """Return y of a convolution, [N, M, ...]."""
        pads = [(p, p) for p in padding]
        y = self.lax.conv_general_dilated(
            x, weight, stride, pads, rhs_dilation=dilation, feature_group_count=groups,
            precision=self.lax.Precision.HIGHEST,
        )  # fmt: skip
        return self._biased(y, bias)

    def conv_transpose(
        self, x: Any, weight: Any, bias: Any = None, *, stride: Options, padding: Options,
        output_padding: Options, dilation: Options, groups: int,
    ) -> Any:  # fmt: skip
        """Return y of a transposed convolution: `jax.lax.conv_transpose` of every group."""
        taps = zip(weight.shape[2:], dilation, padding, output_padding, strict=True)
        pads = [(d * (k - 1) - p, d * (k - 1) - p + more) for k, d, p, more in taps]
        space = "DHW"[-len(stride) :]
        parts = [
            self.lax.conv_transpose(
                part, taps_of, stride, pads, rhs_dilation=dilation, transpose_kernel=True,
                dimension_numbers=(f"NC{space}", f"OI{space}", f"NC{space}"),
                precision=self.lax.Precision.HIGHEST,
            )
            for part, taps_of in zip(
                self.numpy.split(x, groups, 1), self.numpy.split(weight, groups, 0), strict=True
            )
        ]  # fmt: skip
        return self._biased(self.numpy.concatenate(parts, 1), bias)

    def _biased(self, y: Any, bias: Any) -> Any:
        return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))

    def max_pool(
        self, x: Any, *, kernel_size: Options, stride: Options, padding: Options,
        dilation: Options, ceil_mode: bool,
    ) -> Any:  # fmt: skip
        """Return the maxima of windows, without indices."""
        pads = self._pads(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)
        start = np.asarray(-np.inf, x.dtype)  # known to JAX: there is a rule for its gradient
        return self._windows(x, start, self.lax.max, kernel_size, stride, pads, dilation)

    def avg_pool(
        self, x: Any, *, kernel_size: Options, stride: Options, padding: Options,
        ceil_mode: bool, count_include_pad: bool,
    ) -> Any:  # fmt: skip
        """Return the sums of windows over the numbers of taps that count."""
        pads = self._pads(
            x.shape[2:], kernel_size, stride, padding, (1,) * len(stride), ceil_mode=ceil_mode
        )
        given = (self.lax.add, kernel_size, stride)
        zero = np.zeros((), x.dtype)
        ones = self.numpy.ones((1, 1, *x.shape[2:]), x.dtype)
        if count_include_pad:
            edges = [(0, 0), (0, 0), *((p, p) for p in padding)]
            ones = self.numpy.pad(ones, edges, constant_values=1)
            beyond = [(0, after - p) for (_, after), p in zip(pads, padding, strict=True)]
        else:
            beyond = pads
        return self._windows(x, zero, *given, pads) / self._windows(ones, zero, *given, beyond)

    def _pads(
        self, sizes: Options, kernel: Options, stride: Options, padding: Options,
        dilation: Options, *, ceil_mode: bool,
    ) -> Pads:  # fmt: skip
        """Return the padding before and after every spatial axis; `ceil_mode` adds after it."""
        pads = []
        for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
            rest = size + 2 * p - d * (k - 1) - 1
            steps = -(-rest // s) if ceil_mode else rest // s
            if ceil_mode and steps * s >= size + p:
                steps -= 1  # the last window starts on the image or before it
            pads.append((p, p + max(0, steps * s - rest)))
        return pads

    def _windows(
        self, x: Any, start: Any, combine: Any, kernel: Options, stride: Options, pads: Pads,
        dilation: Options | None = None,
    ) -> Any:  # fmt: skip
        """Return `jax.lax.reduce_window` over the spatial axes."""
        return self.lax.reduce_window(
            x, start, combine, (1, 1, *kernel), (1, 1, *stride), [(0, 0), (0, 0), *pads],
            window_dilation=(1, 1, *(dilation or (1,) * len(kernel))),
        )  # fmt: skip

    def leaky_relu(self, z: Any, *, negative_slope: float) -> Any:
        """Return z where it is positive, elsewhere its multiple."""
        return self.nn.leaky_relu(z, negative_slope)

    def tanh(self, z: Any) -> Any:
        """Return the hyperbolic tangent of every element."""
        return self.numpy.tanh(z)

    def softmax(self, z: Any, *, axis: int) -> Any:
        """Return exp(z) over its sum along an axis."""
        return self.nn.softmax(z, axis)

    def linear(self, x: Any, weight: Any, bias: Any = None) -> Any:
        """Return y [N, M] of a linear layer."""
        y = self.numpy.matmul(x, weight.T, precision=self.lax.Precision.HIGHEST)
        return y if bias is None else y + bias

    def cross_entropy(self, logits: Any, target: Any, *, reduction: str) -> Any:
        """Return the mean or the sum of the losses of images, without axes."""
        chosen = self.numpy.take_along_axis(self.nn.log_softmax(logits, 1), target[:, None], 1)
        return -(chosen.mean() if reduction == "mean" else chosen.sum())

    def batch_mean(self, gradient_per_image: Any) -> Any:
        """Return the mean over the first axis."""
        return self.numpy.mean(gradient_per_image, 0)
