"""Functions whose results have the shapes that im2col's have, on zeros of the same shapes.

They are those of other ranks and of options: paddings, resampling, adaptive pooling, lookups,
joining, optimisers.  Only the shapes are taken, and what im2col refuses is refused.  Beside them a
comment may name sizes: `N C` and the sides of images, `L` or `W` of sequences, `H W`, `D H W` of
volumes; `O` before those of the result, `K S P D` before those of kernels, strides, paddings and
dilations; `M` filters and `G` groups; of embeddings `N` indices, `V` rows and `E` features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

Names: TypeAlias = Mapping[str, Any]
Entry: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]  # arguments, results

DY, INDEX = "grad_output", "indices"
ALONG = {1: "W", 2: "HW", 3: "DHW"}  # the sides of images by their rank
OPTIONS = {"kernel_size": "K", "stride": "S", "padding": "P", "dilation": "D"}
RANK = re.compile(r"(?<=[a-z])([123])d(?:_|$)")
MOMENTS = ("parameter", "gradient", "exp_avg", "exp_avg_sq")
# Arguments that hold integers or booleans, by operator.
INTEGERS = {"embedding": ("input",), "gather": ("index",), "index_select": ("index",),
            "scatter_add": ("index",)}  # fmt: skip
BOOLEANS = {"dropout_with_mask": ("mask",)}
# Those whose results are not zeros where one of their arrays is empty.
OF_SEVERAL = ("cat", "scatter_add", "clip_grad_norm")
OPTIONAL = {"cat": ("third",), "sgd_momentum_step": ("momentum_buffer",)}


def _resized(name: str, *, pooled: bool = False) -> dict[str, Entry]:
    """Return an operator of images whose gradient takes that of its result alone."""
    found: dict[str, Entry] = {name: (("x",), ("y",)), f"{name}_grad_input": ((DY,), ("dx",))}
    if pooled:  # which gives the places of maxima, too
        found |= {name: (("x",), ("y", INDEX)), f"{name}_grad_input": ((DY, INDEX), ("dx",))}
        found[f"{name}_vjp"] = (DY, "x"), ("dx",)
    return found


def _of_rank(rank: int) -> dict[str, Entry]:
    """Return the functions of images of a rank, but those which have shapes of their own."""
    found: dict[str, Entry] = {}
    pads = ("circular_pad", "reflection_pad", "replication_pad", "zero_pad")
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]
    for kind in (
        *pads, f"interpolate_{linear}", "interpolate_nearest", "adaptive_avg_pool",
        *(["avg_pool"] * (rank != 2)),
    ):  # fmt: skip
        found |= _resized(f"{kind}{rank}d")
    for kind in ("adaptive_max_pool", *(["max_pool"] * (rank != 2))):
        found |= _resized(f"{kind}{rank}d", pooled=True)
    unpool = f"max_unpool{rank}d"
    found |= {unpool: (("x", INDEX), ("y",)), f"{unpool}_grad_input": ((DY, INDEX), ("dx",))}
    if rank != 2:
        found |= {f"lp_pool{rank}d": (("x",), ("y",)), f"lp_pool{rank}d_grad": ((DY, "x"), ("dx",))}
        for kind in (f"conv{rank}d", f"conv_transpose{rank}d"):
            found |= {
                kind: (("x", "weight", "bias"), ("y",)),
                f"{kind}_grad_input": ((DY, "weight"), ("dx",)),
                f"{kind}_grad_weight": ((DY, "x"), ("dw",)),
                f"{kind}_grad_bias": ((DY,), ("db",)),
            }
    return found


def _with_gradients(name: str, arguments: Sequence[str], by: Sequence[str]) -> dict[str, Entry]:
    """Return an operator and its gradients, which take all that it takes."""
    found: dict[str, Entry] = {name: ((*arguments,), ("y",))}
    for one in by:
        gradient = f"{name}_grad_{one}" if len(by) > 1 else f"{name}_grad"
        found[gradient] = (DY, *arguments), (f"d{one}",)
    return found


FUNCTIONS: dict[str, Entry] = {
    **_of_rank(1), **_of_rank(2), **_of_rank(3),
    **{name: entry for kind in ("fold", "unfold", "pixel_shuffle", "pixel_unshuffle")
       for name, entry in _resized(kind).items()},
    **_with_gradients("embedding", ("input", "weight"), ("weight",)),
    **_with_gradients("gather", ("input", "index"), ("input",)),
    **_with_gradients("index_select", ("input", "index"), ("input",)),
    **_with_gradients("scatter_add", ("input", "index", "src"), ("input", "src")),
    **_with_gradients("add", ("input", "other"), ("input", "other")),
    **_with_gradients("cat", ("first", "second", "third"), ("first", "second", "third")),
    **_with_gradients("cumsum", ("input",), ("input",)),
    "broadcast_matmul": (("input", "other"), ("y",)),
    "broadcast_matmul_grad_input": ((DY, "other"), ("dinput",)),
    "broadcast_matmul_grad_other": ((DY, "input"), ("dother",)),
    "dropout_with_mask": (("z", "mask"), ("y",)),
    "dropout_with_mask_grad": ((DY, "mask"), ("dz",)),
    "split": (("input",), ("first", "second")),
    "batch_norm_update": (
        ("x", "running_mean", "running_var"), ("new_running_mean", "new_running_var"),
    ),
    **dict.fromkeys(
        ("adam_step", "adamw_step"),
        (MOMENTS, ("new_parameter", "new_exp_avg", "new_exp_avg_sq")),
    ),
    "sgd_momentum_step": (
        ("parameter", "gradient", "momentum_buffer"), ("new_parameter", "new_momentum_buffer"),
    ),
    "clip_grad_norm": (("first", "second"), ("clipped_first", "clipped_second", "total_norm")),
    "ema": (("average", "value"), ("y",)),
}  # fmt: skip


def sizes_of(function: str) -> Callable[[Names], Names]:
    """Return what gives the sizes of a call of a function, and the shapes of its results."""
    return partial(_sizes, function)


def _sizes(function: str, call: Names) -> Names:
    """Return the sizes of a call, "shape" of its first result and "shapes" of all.

    Raises:
        ValueError: im2col refuses such a call.
    """
    shapes = _answered(function, call)
    found = {"shape": shapes[0], "shapes": shapes}
    if rank := RANK.search(function):
        return {**_of_images(int(rank[1]), call, shapes[0]), **found}
    if function.startswith("embedding"):
        rows, features = call["weight"].shape
        return {"N": call["input"].size, "V": rows, "E": features, **found}
    if function.startswith(("fold", "unfold", "pixel")):
        return {**_of_columns(call, shapes[0]), **found}
    return found


def _answered(function: str, call: Names) -> list[tuple[int, ...]]:
    """Return the shapes of what im2col returns on zeros; integers are as they are."""
    from gradoracle.implementations import im2col  # noqa: PLC0415 - few files need it

    given = {name: _plain(value) for name, value in call.items() if name != "policies"}
    if call["policies"].get("index_origin") == "global" and INDEX in given:
        given[INDEX] = np.zeros_like(given[INDEX])
    arrays = [given.pop(name) for name in FUNCTIONS[function][0]]
    with np.errstate(all="ignore"):
        answer = getattr(im2col, function)(*arrays, **given)
    return [one.shape for one in (answer if isinstance(answer, tuple) else (answer,))]


def _plain(value: Any) -> Any:
    """Return an argument as im2col takes it: of numbers zeros, of integers and booleans those."""
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return value
    if value.dtype.kind not in "iub":
        return np.zeros(value.shape, np.float32)
    array = value.get() if hasattr(value, "get") else np.asarray(value)
    return array if array.dtype == bool else array.astype(np.int64)


def _of_images(rank: int, call: Names, result: tuple[int, ...]) -> dict[str, Any]:
    """Return the sizes of a function of images: its own, its result's and its options'."""
    dy = call.get(DY)
    given = call["x"].shape if "x" in call else call.get("input_shape", result)
    made = result if dy is None else dy.shape
    found: dict[str, Any] = {"N": made[0], "C": given[1] if len(given) > 1 else made[1]}
    _add(found, ALONG[rank], "", given[2:])
    _add(found, ALONG[rank], "O", made[2:])
    for option, letter in OPTIONS.items():
        sides = call.get(option, ())
        _add(found, ALONG[rank], letter, sides if len(sides) == rank else ())
    weight = call["weight"].shape if "weight" in call else call.get("weight_shape", ())
    _add(found, ALONG[rank], "K", weight[2:])
    if "groups" in call:
        found |= {"M": made[1], "G": call["groups"]}
    elif call.keys() == {DY, "policies"} and len(result) == 1:  # the gradient by a bias
        found |= {"M": made[1], "C": 1, "G": 1}
        found |= {f"{before}{one}": 1 for before in "KSD" for one in ALONG[rank]}
        found |= {f"P{one}": 0 for one in ALONG[rank]}
        found |= dict(zip(ALONG[rank], made[2:], strict=True))
    if rank == 1:
        found |= {"L": found["W"], "OL": found["OW"]} if "W" in found else {"OL": found["OW"]}
    return found


def _add(found: dict[str, Any], along: str, before: str, sides: Sequence[int]) -> None:
    if sides:
        found.update({f"{before}{letter}": side for letter, side in zip(along, sides, strict=True)})


def _of_columns(call: Names, result: tuple[int, ...]) -> dict[str, Any]:
    """Return the sizes of images, of shuffled ones, or of the columns that windows make of them."""
    given = next(call[name].shape for name in ("x", DY) if name in call)
    images = [shape for shape in (given, result) if len(shape) == 4]
    found = {"N": given[0]}
    few = min(images, key=lambda shape: shape[1])
    found |= {"C": few[1], "H": few[2], "W": few[3]}
    if len(images) == 2:  # a shuffle: r^2 C channels of H x W, and C of rH x rW
        many = max(images, key=lambda shape: shape[1])
        return {**found, "H": many[2], "W": many[3], "OH": few[2], "OW": few[3]}
    columns = given if len(given) == 3 else result
    for option, letter in OPTIONS.items():
        _add(found, ALONG[2], letter, call.get(option, ()))
    return {**found, "K": columns[1], "L": columns[2]}
