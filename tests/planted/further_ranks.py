"""Faults of adaptive pooling, interpolation, max unpooling and padding of sequences and volumes.

Ideas that are planted in those of images are planted here along one axis.  They stand in the table
of `ranks.py`.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.operators.further_ranks import FURTHER_RANKS
from gradoracle.implementations import im2col as good
from gradoracle.oracle.declaration import output_of
from tests.planted import interpolate, lp_pool
from tests.planted.adaptive_pool import WINDOWS, ends
from tests.planted.fault import Function, checked, fitted, half, target
from tests.planted.moved_pixels import first_image_for_all, nan_as_zero
from tests.planted.ranks import NAMES, RIGHT, plant
from tests.planted.table import quietly

Array = Any
OPERATORS = [o for o in FURTHER_RANKS if not o.name.startswith("lp_pool")]
FUNCTIONS = [n for o in OPERATORS for n in dict.fromkeys(output_of(f).function for f in o.formulas)]


def add(kind: str, name: str, wrong: Function) -> None:
    """Plant a fault that refuses what im2col refuses."""
    made = _with_places(wrong) if is_pair(name) else quietly(wrong)
    plant(kind, name, lambda: checked(target(name, NAMES), made))


def is_pair(name: str) -> bool:
    """Whether the function returns values and indices."""
    function = target(name, NAMES)
    return (
        function.startswith("adaptive_max") and "_grad" not in function and "_vjp" not in function
    )


def _with_places(wrong: Function) -> Function:
    def made(x: Array, **o: Any) -> Any:
        y, indices = wrong(x, **o)
        return np.asarray(y, x.dtype), np.asarray(indices, np.int64)

    return made


# -- every function -------------------------------------------------------------------------------


def spoilt(name: str, spoil: Callable[[Array], Array]) -> Function:
    """im2col, whose answer, or the values of it, are spoilt."""

    def wrong(*arrays: Any, **o: Any) -> Any:
        found = getattr(good, name)(*arrays, **o)
        if isinstance(found, tuple):
            return spoil(found[0].copy()), found[1]
        return spoil(np.array(found))

    return wrong


def without_last(y: Array) -> Array:
    """The last pixel of the first axis is left out of several."""
    if y.shape[2] > 1:
        y[:, :, -1] = 0
    return y


def turned(y: Array) -> Array:
    return y[:, :, ::-1]


for _name in FUNCTIONS:
    add("tail", f"{_name}_loses_the_end_of_the_first_axis", spoilt(_name, without_last))
    if _name.endswith(("_grad_input", "_vjp")):
        add("orientation", f"{_name}_turns_the_first_axis", spoilt(_name, turned))
    else:
        add("batch", f"{_name}_of_the_first_image", spoilt(_name, first_image_for_all))
        add("precision", f"{_name}_rounds_to_half", spoilt(_name, half))


# -- pooling to a given size ----------------------------------------------------------------------


def pooled(x: Array, output_size: Any, sides: Any, reduce: Callable[..., Array]) -> Array:
    """Every window reduced, windows of each axis by their own function."""
    y = np.zeros((*x.shape[:2], *output_size), x.dtype)
    spans = [of(*s) for of, *s in zip(sides, x.shape[2:], output_size, strict=True)]
    for at in np.ndindex(*output_size):
        cut = (slice(first[i], last[i]) for (first, last), i in zip(spans, at, strict=True))
        y[(..., *at)] = reduce(x[(..., *cut)], axis=(*range(2, x.ndim),))
    return y


def spread(dy: Array, input_shape: Any, sides: Any) -> Array:
    """Every dy shared among its window."""
    dx = np.zeros(input_shape, dy.dtype)
    spans = [of(*s) for of, *s in zip(sides, input_shape[2:], dy.shape[2:], strict=True)]
    for at in np.ndindex(*dy.shape[2:]):
        cut = (slice(first[i], last[i]) for (first, last), i in zip(spans, at, strict=True))
        window = dx[(..., *cut)]
        share = dy[(..., *at)] / max(1, np.prod(window.shape[2:]))
        window += share.reshape(*share.shape, *(1,) * (dy.ndim - 2))
    return dx


for _rank in (1, 3):
    for _what, _kind, _of in WINDOWS[:3]:
        _sides = (_of, *(ends,) * (_rank - 1))
        add(
            _kind,
            f"adaptive_avg_pool{_rank}d_{_what}",
            lambda x, *, output_size, s=_sides: pooled(x, output_size, s, np.mean),
        )
        add(
            _kind,
            f"adaptive_avg_pool{_rank}d_grad_input_{_what}",
            lambda dy, *, input_shape, s=_sides: spread(dy, input_shape, s),
        )
        add(
            _kind,
            f"adaptive_max_pool{_rank}d_{_what}",
            lambda x, *, output_size, s=_sides, n=f"adaptive_max_pool{_rank}d": (
                pooled(x, output_size, s, np.max), getattr(good, n)(x, output_size=output_size)[1]
            ),
        )  # fmt: skip
    add(
        "overlap",
        f"adaptive_max_pool{_rank}d_grad_input_assigns",
        lambda dy, indices, *, input_shape: _assigned(dy, indices, input_shape),
    )
    add(
        "tie",
        f"adaptive_max_pool{_rank}d_vjp_assigns",
        lambda dy, x, n=f"adaptive_max_pool{_rank}d": _assigned(
            dy, getattr(good, n)(x, output_size=dy.shape[2:])[1], x.shape
        ),
    )
    add(
        "nan",
        f"adaptive_max_pool{_rank}d_drops_a_nan",
        lambda x, n=f"adaptive_max_pool{_rank}d", **o: getattr(good, n)(
            np.where(np.isnan(x), x.dtype.type(-np.inf), x), **o
        ),
    )


def _assigned(dy: Array, indices: Array, shape: Any) -> Array:
    flat = np.zeros((*shape[:2], int(np.prod(shape[2:]))), dy.dtype)
    lines = (*shape[:2], int(np.prod(dy.shape[2:])))
    np.put_along_axis(flat, indices.reshape(lines), dy.reshape(lines), 2)
    return flat.reshape(shape)


def _in_its_slice(x: Array, *, output_size: Any) -> Any:
    """Places within a slice of the volume."""
    y, indices = good.adaptive_max_pool3d(x, output_size=output_size)
    return y, indices % (x.shape[3] * x.shape[4])


add("index", "adaptive_max_pool3d_points_into_its_own_slice", _in_its_slice)


# -- interpolation --------------------------------------------------------------------------------


def resized(right: Any, wrong: Any, *, back: bool) -> Function:
    """Products with a matrix along every axis, of which the last one's is wrong."""

    def made(array: Array, **o: Any) -> Array:
        plane, outputs = (
            o.pop("input_shape", array.shape)[2:],
            o.pop("output_size", array.shape[2:]),
        )
        (option,) = o.values()
        found, last = np.asarray(array, float), len(plane) - 1
        for axis, sides in enumerate(zip(plane, outputs, strict=True)):
            matrix = (wrong if axis == last else right)(*sides, option)
            product = np.tensordot(matrix.T if back else matrix, found, (1, axis + 2))
            found = np.moveaxis(product, 0, axis + 2)
        return found

    return made


LINEAR = {1: "interpolate_linear1d", 3: "interpolate_trilinear3d"}
for _rank in (1, 3):
    for _end in ("", "_grad_input"):
        for _what, _kind, _, _place in interpolate.PICKED[:3]:
            add(
                _kind,
                f"interpolate_nearest{_rank}d{_end}_{_what}",
                resized(interpolate.picked, interpolate.picks(_place), back=bool(_end)),
            )
        for _what, _kind, _, _matrix in interpolate.MIXED[:4]:
            add(
                _kind,
                f"{LINEAR[_rank]}{_end}_{_what}",
                resized(interpolate.between, _matrix, back=bool(_end)),
            )


# -- max unpooling --------------------------------------------------------------------------------


def _one_further(name: str, at: int) -> Function:
    """Places one further, of the function whose array of indices is at a place."""

    def wrong(*arrays: Any, **o: Any) -> Array:
        plane = int(np.prod(o.get("output_size", arrays[0].shape[2:])))
        moved = (arrays[at] + 1) % plane
        return getattr(good, name)(*arrays[:at], moved, *arrays[at + 1 :], **o)

    return wrong


for _rank in (1, 3):
    for _end in ("", "_grad_input"):
        _name = f"max_unpool{_rank}d{_end}"
        add("index", f"{_name}_is_one_further", _one_further(_name, 1))
    add(
        "nan",
        f"max_unpool{_rank}d_drops_a_nan",
        lambda x, indices, n=f"max_unpool{_rank}d", **o: getattr(good, n)(
            nan_as_zero(x), indices, **o
        ),
    )


# -- padding --------------------------------------------------------------------------------------


def padded_otherwise(name: str, change: Callable[[Any], Any]) -> Function:
    """A padding that is misread, its answer cropped or filled up to its shape."""

    def wrong(array: Array, *, padding: Any) -> Array:
        right = getattr(good, name)(array, padding=padding)
        with suppress(ValueError):
            return fitted(getattr(good, name)(array, padding=change(padding)), right.shape)
        return right

    return wrong


def _ends_exchanged(padding: Any) -> Any:
    return tuple(n for at in range(0, len(padding), 2) for n in padding[at : at + 2][::-1])


def _first_axis_first(padding: Any) -> Any:
    return tuple(n for at in range(len(padding) - 2, -1, -2) for n in padding[at : at + 2])


for _kind in ("zero", "reflection", "replication", "circular"):
    for _rank in (1, 3):
        for _end in ("", "_grad_input"):
            _name = f"{_kind}_pad{_rank}d{_end}"
            add(
                "orientation",
                f"{_name}_exchanges_both_ends",
                padded_otherwise(_name, _ends_exchanged),
            )
            if _rank == 3:
                add(
                    "option",
                    f"{_name}_takes_the_first_axis_first",
                    padded_otherwise(_name, _first_axis_first),
                )
                add(
                    "padding",
                    f"{_name}_forgets_the_first_axis",
                    padded_otherwise(_name, lambda padding: (*padding[:-2], 0, 0)),
                )


# -- other right ways -----------------------------------------------------------------------------


def _lifted(name: str) -> Function:
    """One axis as the second of two, or the loops of the oracle in the arrays' own format."""
    if "3d" in name:
        return checked(name, getattr(oracle, name))
    planar = getattr(good, name.replace("linear1d", "bilinear2d").replace("1d", "2d"))

    def right(*arrays: Any, **o: Any) -> Any:
        options = dict(o)
        if "output_size" in o:
            options["output_size"] = (1, *o["output_size"])
        if "padding" in o:
            options["padding"] = (*o["padding"], 0, 0)
        y = planar(*(array[:, :, None] for array in arrays), **options)
        return tuple(a[:, :, 0] for a in y) if isinstance(y, tuple) else y[:, :, 0]

    return checked(name, right)


RIGHT.update({operator.name: _lifted(operator.name) for operator in OPERATORS})
RIGHT.update(lp_pool.RIGHT)
