"""Layer, RMS, instance and group normalisation, and their gradients."""

from collections.abc import Callable
from typing import Any, TypeAlias

from gradoracle.implementations.cupy_kernels import normalised_sets
from gradoracle.implementations.cupy_kernels.machine import Machine
from gradoracle.implementations.cupy_kernels.normalised_sets import Sets, of_groups, of_rows
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array, Shape, check_letters, named

SetsOf: TypeAlias = Callable[[Shape], Sets]

ROWS, PLANES = "ntc", "nchw"
OPTIONAL = ("weight", "bias")


def check_eps(eps: float) -> None:
    """Raise ValueError where eps is negative."""
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, got {eps}")


def arrays_of(letters: str, **arrays: Any) -> tuple[Machine, list[Any]]:
    """Return the machine and the arrays there: x and dy of these axes, all others of channels.

    Raises:
        ValueError: the shapes do not fit.
    """
    machine, placed = place(optional=OPTIONAL, **arrays)
    of = {"x": letters, "grad_output": letters}
    pairs = zip(arrays, placed, strict=True)
    check_letters({name: (array, of.get(name, "c")) for name, array in pairs})
    return machine, placed


def _normalised(
    name: str, letters: str, sets_of: SetsOf
) -> tuple[Callable[..., Any], ...]:  # fmt: skip
    """Return a normalisation of sets, its gradients by x, weight and bias, and all at once."""

    @named(name)
    def forward(
        x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float
    ) -> Array:
        """Return the numbers of x less their mean, over their deviation, scaled by channels.

        Raises:
            ValueError: the shapes do not fit, or eps is negative.
        """
        check_eps(eps)
        machine, (x, weight, bias) = arrays_of(letters, x=x, weight=weight, bias=bias)
        return normalised_sets.forward(machine, x, weight, bias, sets_of(x.shape), eps)

    @named(f"{name}_grad_x")
    def by_x(grad_output: Array, x: Array, weight: Array | None = None, *, eps: float) -> Array:
        """Return dx, of x's shape.

        Raises:
            ValueError: the shapes do not fit, or eps is negative.
        """
        check_eps(eps)
        machine, (dy, x, weight) = arrays_of(letters, grad_output=grad_output, x=x, weight=weight)
        return normalised_sets.grad_x(machine, dy, x, weight, sets_of(x.shape), eps)

    @named(f"{name}_grad_weight")
    def by_weight(grad_output: Array, x: Array, *, eps: float) -> Array:
        """Return dw [C], summed over everything else.

        Raises:
            ValueError: the shapes do not fit, or eps is negative.
        """
        check_eps(eps)
        machine, (dy, x) = arrays_of(letters, grad_output=grad_output, x=x)
        sets = sets_of(x.shape)
        found = normalised_sets.moments(machine, x, sets, eps)
        return normalised_sets.grad_weight(machine, dy, x, found, sets)

    @named(f"{name}_grad_bias")
    def by_bias(grad_output: Array) -> Array:
        """Return db [C], summed over everything else.

        Raises:
            ValueError: grad_output has other axes.
        """
        machine, (dy,) = arrays_of(letters, grad_output=grad_output)
        return normalised_sets.grad_bias(machine, dy, sets_of(dy.shape))

    @named(f"{name}_vjp")
    def by_all(
        grad_output: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *,
        eps: float,
    ) -> tuple[Array | None, ...]:  # fmt: skip
        """Return (dx, dw, db); None by what is None.

        Raises:
            ValueError: the shapes do not fit, or eps is negative.
        """
        arrays_of(letters, grad_output=grad_output, x=x, weight=weight, bias=bias)
        return (
            by_x(grad_output, x, weight, eps=eps),
            None if weight is None else by_weight(grad_output, x, eps=eps),
            None if bias is None else by_bias(grad_output),
        )

    return forward, by_x, by_weight, by_bias, by_all


def _of_planes(shape: Shape) -> Sets:
    return of_groups(shape, shape[1])


(
    layer_norm, layer_norm_grad_x, layer_norm_grad_weight, layer_norm_grad_bias, layer_norm_vjp
) = _normalised("layer_norm", ROWS, of_rows)  # fmt: skip
(
    instance_norm, instance_norm_grad_x, instance_norm_grad_weight, instance_norm_grad_bias,
    instance_norm_vjp,
) = _normalised("instance_norm", PLANES, _of_planes)  # fmt: skip


def rms_norm(x: Array, weight: Array | None = None, *, eps: float) -> Array:
    """Return every row of x [N, T, C] over the root of its mean square, scaled.

    Raises:
        ValueError: the shapes do not fit, or eps is negative.
    """
    check_eps(eps)
    machine, (x, weight) = arrays_of(ROWS, x=x, weight=weight)
    return normalised_sets.forward(machine, x, weight, None, of_rows(x.shape, centred=False), eps)


def rms_norm_grad_x(
    grad_output: Array, x: Array, weight: Array | None = None, *, eps: float
) -> Array:
    """Return dx [N, T, C] = (g - xhat mean(g xhat)) / root.

    Raises:
        ValueError: as `rms_norm`.
    """
    check_eps(eps)
    machine, (dy, x, weight) = arrays_of(ROWS, grad_output=grad_output, x=x, weight=weight)
    return normalised_sets.grad_x(machine, dy, x, weight, of_rows(x.shape, centred=False), eps)


def rms_norm_grad_weight(grad_output: Array, x: Array, *, eps: float) -> Array:
    """Return dw [C], summed over all rows.

    Raises:
        ValueError: as `rms_norm`.
    """
    check_eps(eps)
    machine, (dy, x) = arrays_of(ROWS, grad_output=grad_output, x=x)
    sets = of_rows(x.shape, centred=False)
    found = normalised_sets.moments(machine, x, sets, eps)
    return normalised_sets.grad_weight(machine, dy, x, found, sets)


def rms_norm_vjp(
    grad_output: Array, x: Array, weight: Array | None = None, *, eps: float
) -> tuple[Array, Array | None]:
    """Return (dx, dw); the second is None without weight.

    Raises:
        ValueError: as `rms_norm`.
    """
    dx = rms_norm_grad_x(grad_output, x, weight, eps=eps)
    return dx, None if weight is None else rms_norm_grad_weight(grad_output, x, eps=eps)
