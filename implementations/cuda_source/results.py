"""What each function of the protocol gives: its results' names, their shapes, and sizes."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from gradoracle.implementations import shapes
from gradoracle.implementations.cuda_source import by_axes, by_example
from gradoracle.implementations.cuda_source.by_example import ALONG

Names: TypeAlias = Mapping[str, Any]
SIZES = ("N", "C", "H", "W", "M", "OH", "OW", "KH", "KW", "SH", "SW", "PH", "PW", "DH", "DW")


@dataclass(frozen=True)
class Results:
    """A function's arguments by position, its results' names, and what they are."""

    arguments: tuple[str, ...]
    names: tuple[str, ...]
    of: Callable[[Names], Names]  # sizes and "shape"; raises ValueError where nothing fits


def _same(first: str) -> Callable[[Names], Names]:
    """Return the shape of an element-wise function of `first`."""

    def of(call: Names) -> Names:
        if "grad_output" in call:
            shapes.check_same_shape(call["grad_output"], call[first])
        return {"shape": call[first].shape}

    return of


def _softmax(call: Names) -> Names:
    z, axis = call["z"], call["axis"]
    if not -z.ndim <= axis < z.ndim or not z.shape[axis]:
        raise ValueError(f"shape {z.shape} has nothing on axis {axis}")
    return _same("z")(call)


def _conv(kind: str, *, transposed: bool = False) -> Callable[[Names], Names]:
    """Return the sizes of a convolution, and the shape of its y, dx or dw."""

    def of(call: Names) -> Names:
        x = tuple(call["input_shape"]) if kind == "dx" else call["x"].shape
        weight = tuple(call["weight_shape"]) if kind == "dw" else call["weight"].shape
        stride, padding, dilation = call["stride"], call["padding"], call["dilation"]
        if transposed:
            more = call["output_padding"]
            y = shapes.conv_transpose_shape(
                2, x, weight, stride, padding, more, dilation, call["groups"]
            )
        else:
            y = shapes.conv_shape(2, x, weight, stride, padding, dilation, call["groups"])
        if kind == "y":
            shapes.check_bias(call["bias"], y[1], "filters")
        else:
            shapes.check_grad_output(call["grad_output"], y)
        sizes = _sizes(x, y, weight[2:], stride, padding, dilation)
        return {**sizes, "G": call["groups"], "shape": {"y": y, "dx": x, "dw": weight}[kind]}

    return of


def _sizes(
    x: shapes.Shape, y: shapes.Shape, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> dict[str, int]:
    return dict(zip(SIZES, (*x, *y[1:], *kernel, *stride, *padding, *dilation), strict=True))


def _channels(call: Names) -> Names:
    dy = call["grad_output"]
    shapes.check_channels(2, dy)
    return {**dict(zip(("N", "M", "OH", "OW"), dy.shape, strict=True)), "shape": dy.shape[1:2]}


def _pool(kind: str) -> Callable[[Names], Names]:
    def of(call: Names) -> Names:
        x = tuple(call["input_shape"]) if "input_shape" in call else call["x"].shape
        kernel, stride, padding = call["kernel_size"], call["stride"], call.get("padding", (0, 0))
        dilation, ceil_mode = call.get("dilation", (1, 1)), call.get("ceil_mode", False)
        windows = shapes.pool_windows(2, x, kernel, stride, padding, dilation, ceil_mode=ceil_mode)
        y = (*x[:2], *windows)
        if "grad_output" in call:
            shapes.check_grad_output(call["grad_output"], y)
        return {
            **_sizes(x, y, kernel, stride, padding, dilation), "shape": y if kind == "y" else x,
        }  # fmt: skip

    return of


def _unpool(call: Names) -> Names:
    dy, shape = call["grad_output"], tuple(call["input_shape"])
    origin = call["policies"].get("index_origin", "plane")
    shapes.check_indices(2, dy, call["indices"], shape, of_plane=origin == "plane")
    sizes = dict(zip(("N", "C", "H", "W", "OH", "OW"), (*shape, *dy.shape[2:]), strict=True))
    return {**sizes, "shape": shape}


def _linear(call: Names) -> Names:
    x, weight = call["x"], call["weight"]
    shapes.check_linear(x, weight, call["bias"])
    return {"N": len(x), "C": x.shape[1], "M": len(weight), "shape": (len(x), len(weight))}


def _linear_dx(call: Names) -> Names:
    dy, weight = call["grad_output"], call["weight"]
    shapes.check_linear_gradient(dy, 1, weight=weight)
    sizes = {"N": len(dy), "C": weight.shape[1], "M": dy.shape[1]}
    return {**sizes, "shape": (len(dy), weight.shape[1])}


def _linear_dw(call: Names) -> Names:
    dy, x = call["grad_output"], call["x"]
    shapes.check_linear_gradient(dy, 0, x=x)
    sizes = {"N": len(dy), "C": x.shape[1], "M": dy.shape[1]}
    return {**sizes, "shape": (dy.shape[1], x.shape[1])}


def _linear_db(call: Names) -> Names:
    dy = call["grad_output"]
    shapes.check_axes(2, grad_output=dy)
    return {"N": len(dy), "M": dy.shape[1], "shape": dy.shape[1:]}


def _loss(kind: str) -> Callable[[Names], Names]:
    def of(call: Names) -> Names:
        logits, target = call["logits"], call["target"]
        if call["policies"].get("labels") == "one-hot":
            if target.shape != logits.shape:
                raise ValueError(f"one-hot target {target.shape} must be as logits {logits.shape}")
            target = target.argmax(axis=1)
        shapes.check_cross_entropy(logits, target, call["reduction"])
        sizes = {"N": len(logits), "C": logits.shape[1], "mean": call["reduction"] == "mean"}
        return {**sizes, "shape": logits.shape if kind == "dlogits" else ()}

    return of


def _mean(call: Names) -> Names:
    given = call["gradient_per_image"]
    shapes.check_batch(given)
    return {"N": len(given), "shape": given.shape[1:]}


def _step(call: Names) -> Names:
    shapes.check_step(call["parameter"], call["gradient"])
    return {"shape": call["parameter"].shape}


def _results() -> dict[str, Results]:
    found = {
        "softmax": Results(("z",), ("p",), _softmax),
        "softmax_grad": Results(("grad_output", "z"), ("dz",), _softmax),
        "linear": Results(("x", "weight", "bias"), ("y",), _linear),
        "linear_grad_input": Results(("grad_output", "weight"), ("dx",), _linear_dx),
        "linear_grad_weight": Results(("grad_output", "x"), ("dw",), _linear_dw),
        "linear_grad_bias": Results(("grad_output",), ("db",), _linear_db),
        "max_pool2d": Results(("x",), ("y", "indices"), _pool("y")),
        "max_pool2d_grad_input": Results(("grad_output", "indices"), ("dx",), _unpool),
        "max_pool2d_vjp": Results(("grad_output", "x"), ("dx",), _pool("dx")),
        "avg_pool2d": Results(("x",), ("y",), _pool("y")),
        "avg_pool2d_grad_input": Results(("grad_output",), ("dx",), _pool("dx")),
        "lp_pool2d": Results(("x",), ("y",), _pool("y")),
        "lp_pool2d_grad": Results(("grad_output", "x"), ("dx",), _pool("dx")),
        "cross_entropy": Results(("logits", "target"), ("loss",), _loss("loss")),
        "cross_entropy_grad": Results(("logits", "target"), ("dlogits",), _loss("dlogits")),
        "batch_mean": Results(("gradient_per_image",), ("mean",), _mean),
        "sgd_step": Results(("parameter", "gradient"), ("parameter_after",), _step),
    }
    for name, (arguments, result, of_arrays) in by_axes.functions().items():
        found[name] = Results(arguments, (result,), of_arrays)
    found["glu"] = Results(("z",), ("y",), by_axes.half)
    found["glu_grad"] = Results(("grad_output", "z"), ("dz",), by_axes.half)
    found["log_softmax"] = Results(("z",), ("y",), _softmax)
    found["log_softmax_grad"] = Results(("grad_output", "z"), ("dz",), _softmax)
    for name in ("relu", "leaky_relu", "sigmoid", "tanh", *by_axes.ELEMENTWISE):
        found[name] = Results(("z",), ("y",), _same("z"))
        found[f"{name}_grad"] = Results(("grad_output", "z"), ("dz",), _same("z"))
    for name, transposed in (("conv2d", False), ("conv_transpose2d", True)):
        of = partial(_conv, transposed=transposed)
        found[name] = Results(("x", "weight", "bias"), ("y",), of("y"))
        found[f"{name}_grad_input"] = Results(("grad_output", "weight"), ("dx",), of("dx"))
        found[f"{name}_grad_weight"] = Results(("grad_output", "x"), ("dw",), of("dw"))
        found[f"{name}_grad_bias"] = Results(("grad_output",), ("db",), _channels)
    for name, (arguments, results) in by_example.FUNCTIONS.items():
        found[name] = Results(arguments, results, by_example.sizes_of(name))
    return found


RESULTS = _results()
ARRAYS = {"out", "workspace"}.union(*((*one.arguments, *one.names) for one in RESULTS.values()))


def _of_convolution(rank: int, *, transposed: bool) -> dict[str, tuple[str, ...]]:
    sides, taps, pixels = (
        tuple(f"{before}{one}" for one in ALONG[rank]) for before in ("", "K", "O")
    )
    images = ("N", "C", *sides)
    filters = (*(("C", "M/G") if transposed else ("M", "C/G")), *taps)
    return {
        "x": images, "dx": images, "weight": filters, "dw": filters, "bias": ("M",), "db": ("M",),
        **dict.fromkeys(("grad_output", "y"), ("N", "M", *pixels)),
    }  # fmt: skip


def _of_pooling(rank: int) -> dict[str, tuple[str, ...]]:
    sides, pixels = (tuple(f"{before}{one}" for one in ALONG[rank]) for before in ("", "O"))
    return {
        **dict.fromkeys(("x", "dx"), ("N", "C", *sides)),
        **dict.fromkeys(("grad_output", "y", "indices"), ("N", "C", *pixels)),
    }


# The shapes of arguments and results, by the sizes of a call; `same` is that of the first result.
_SHAPES: dict[str, dict[str, tuple[str, ...]]] = {
    **{f"conv{rank}d": _of_convolution(rank, transposed=False) for rank in ALONG},
    **{f"conv_transpose{rank}d": _of_convolution(rank, transposed=True) for rank in ALONG},
    "linear": {
        "x": ("N", "C"), "dx": ("N", "C"), "weight": ("M", "C"), "dw": ("M", "C"),
        "grad_output": ("N", "M"), "y": ("N", "M"), "bias": ("M",), "db": ("M",),
    },
    "cross_entropy": {"loss": (), "dlogits": ("N", "C")},
    **{
        f"{kind}{rank}d": _of_pooling(rank)
        for kind in ("max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool")
        for rank in ALONG
    },
}  # fmt: skip
# The sizes of a convolution or a layer of which only the gradient of the output is given.
_SMALLEST = {"C": 1, "KH": 1, "KW": 1, "SH": 1, "SW": 1, "PH": 0, "PW": 0, "DH": 1, "DW": 1, "G": 1}


def operator_of(function: str) -> str:
    """Return the operator that a function of the protocol belongs to."""
    return function.partition("_grad")[0].removesuffix("_vjp")


def arrays_of(operators: Collection[str]) -> set[str]:
    """Return the arguments and results of all functions of some operators."""
    own = (one for name, one in RESULTS.items() if operator_of(name) in operators)
    return {"out", "workspace"}.union(*((*one.arguments, *one.names) for one in own))


def sizes_of(function: str) -> list[str]:
    """Return the sizes that a call of a function has by letters; none where arrays are counted."""
    operator = operator_of(function)
    known = _SHAPES.get(operator)
    if known is not None:
        sides = [part for shape in known.values() for side in shape for part in side.split("/")]
        of_windows = SIZES[SIZES.index("KH") :] if "H" in sides else ()
        return [*dict.fromkeys((*sides, *of_windows))]
    arrays = RESULTS[function].arguments
    letters = [one for name in arrays for one in by_axes.letters_of(operator, name)]
    return [*dict.fromkeys(letters)]


def all_sizes(function: str, sizes: Names) -> dict[str, Any]:
    """Return the sizes of a call, and the smallest where it has none: a bias' gradient."""
    if not function.endswith("_grad_bias"):
        return dict(sizes)
    more = {"H": sizes["OH"], "W": sizes["OW"]} if "OH" in sizes else {}
    smallest = _SMALLEST if more else {"C": 1}
    return {**smallest, **more, **sizes}


def shape_of(function: str, name: str, sizes: Names, same: shapes.Shape) -> shapes.Shape:
    """Return the shape of an argument or a result that a call of `function` does not have."""
    known = _SHAPES.get(operator_of(function))
    if known is None:
        of = by_axes.argument_of(name)
        if operator_of(function) in by_example.FUNCTIONS and hasattr(sizes.get(of), "shape"):
            return tuple(sizes[of].shape)
        letters = by_axes.letters_of(operator_of(function), name)
        if letters and all(one in sizes for one in letters):
            return tuple(sizes[one] for one in letters)
        return same
    if name not in known:
        raise KeyError(name)
    sides = (side.partition("/") for side in known[name])
    return tuple(sizes[side] // (sizes[by] if by else 1) for side, _, by in sides)
