"""Results of functions whose shapes follow from the letters of their arrays' axes.

The letters are sizes that comments may name: `N` rows or images, `T` tokens, `C` channels, columns
or classes, `H` and `W` pixels; of attention `Q` and `H` heads, `L` and `S` positions, `E` and `V`
features; of products the rows, columns and terms as the contract has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from gradoracle.implementations import shapes

Names: TypeAlias = Mapping[str, Any]
Letters: TypeAlias = Mapping[str, str]

IMAGES, CHANNELS = "N C H W", "C"
ROWS, CLASSES, LABELS = "N T C", "N C", "N"
RESULT = "grad_output"  # has the axes of the result
ONE = {"x": "dx", "weight": "dw", "bias": "db", "input": "dinput", "target": "dtarget", "z": "dz"}
MOMENTS = {"running_mean": CHANNELS, "running_var": CHANNELS}
AFFINE = {"weight": CHANNELS, "bias": CHANNELS}
BY_X: dict[str, tuple[str, ...]] = {"x": ("x", "weight"), "weight": ("x",), "bias": ()}
PAIR = ("input", "target")
ATTENTION = {
    "query": "N Q L E", "key": "N H S E", "value": "N H S V", "attn_mask": "N Q L S",
    RESULT: "N Q L V",
}  # fmt: skip
ATTENDING = tuple(name for name in ATTENTION if name != RESULT)
# The arrays of each operator with their axes, those of its result last, and what the gradient by
# each argument is given beside that of the result.
OPERATORS: dict[str, tuple[Letters, dict[str, tuple[str, ...]]]] = {
    "batch_norm": (
        {"x": IMAGES, **MOMENTS, **AFFINE, RESULT: IMAGES},
        {"x": ("x", *MOMENTS, "weight"), "weight": ("x", *MOMENTS), "bias": ()},
    ),
    "group_norm": ({"x": IMAGES, **AFFINE, RESULT: IMAGES}, BY_X),
    "instance_norm": ({"x": IMAGES, **AFFINE, RESULT: IMAGES}, BY_X),
    "layer_norm": ({"x": ROWS, **AFFINE, RESULT: ROWS}, BY_X),
    "rms_norm": (
        {"x": ROWS, "weight": CHANNELS, RESULT: ROWS}, {"x": ("x", "weight"), "weight": ("x",)},
    ),
    "prelu": (
        {"x": IMAGES, "weight": CHANNELS, RESULT: IMAGES},
        {"x": ("x", "weight"), "weight": ("x", "weight")},
    ),
    **{
        loss: ({"input": CLASSES, "target": CLASSES, RESULT: CLASSES}, dict.fromkeys(PAIR, PAIR))
        for loss in ("huber_loss", "l1_loss", "mse_loss")
    },
    "kl_div": ({"input": CLASSES, "target": CLASSES, RESULT: CLASSES}, {"input": PAIR}),
    "binary_cross_entropy_with_logits": (
        {"input": CLASSES, "target": CLASSES, "pos_weight": CHANNELS, RESULT: CLASSES},
        {"input": (*PAIR, "pos_weight")},
    ),
    **{
        loss: (
            {"input": CLASSES, "target": LABELS, "weight": CHANNELS, RESULT: LABELS},
            {"input": (*PAIR, "weight")},
        )
        for loss in ("nll_loss", "cross_entropy_loss")
    },
    "soft_target_cross_entropy": (
        {"input": CLASSES, "target": CLASSES, "weight": CHANNELS, RESULT: LABELS},
        dict.fromkeys(PAIR, (*PAIR, "weight")),
    ),
    "matmul": (
        {"input": "N K", "other": "K M", RESULT: "N M"}, {"input": ("other",), "other": ("input",)},
    ),
    "bmm": (
        {"input": "N P K", "mat2": "N K Q", RESULT: "N P Q"},
        {"input": ("mat2",), "mat2": ("input",)},
    ),
    "bilinear": (
        {"input1": "N A", "input2": "N B", "weight": "M A B", "bias": "M", RESULT: "N M"},
        {
            "input1": ("input2", "weight"), "input2": ("input1", "weight"),
            "weight": ("input1", "input2"), "bias": (),
        },
    ),
    "rotary_embedding": (
        {"x": "N H T E", "cos": "M D", "sin": "M D", RESULT: "N H T E"}, {"x": ("cos", "sin")},
    ),
    "scaled_dot_product_attention": (ATTENTION, dict.fromkeys(ATTENDING, ATTENDING)),
}  # fmt: skip
# The arguments that may be None, beside a bias and a mask.
OPTIONAL: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("batch_norm", "group_norm", "instance_norm", "layer_norm"), ("weight",)),
    **dict.fromkeys(
        ("rms_norm", "nll_loss", "cross_entropy_loss", "soft_target_cross_entropy"), ("weight",)
    ),
    "binary_cross_entropy_with_logits": ("pos_weight",),
    "sgd_momentum_step": ("momentum_buffer",),
}
# The operators whose target is a class of each row, not numbers.
LABELLED = ("cross_entropy", "cross_entropy_loss", "nll_loss")
ELEMENTWISE = (
    "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "logsigmoid", "mish", "relu6", "silu",
    "softplus",
)  # fmt: skip


def functions() -> dict[str, tuple[tuple[str, ...], str, Callable[[Names], Names]]]:
    """Return the arguments, the result's name and the shapes of every function."""
    found: dict[str, tuple[tuple[str, ...], str, Callable[[Names], Names]]] = {}
    for operator, (letters, gradients) in OPERATORS.items():
        arrays = tuple(name for name in letters if name != RESULT)
        found[operator] = arrays, "loss" if "target" in letters else "y", _of(letters, RESULT)
        for argument, given in gradients.items():
            name = f"{operator}_grad" + (f"_{argument}" if len(gradients) > 1 else "")
            found[name] = (
                (RESULT, *given),
                ONE.get(argument, f"d{argument}"),
                _of(letters, argument),
            )
    return found


def letters_of(operator: str, array: str) -> tuple[str, ...]:
    """Return the axes of an argument, a result or a gradient by name; none of others."""
    if operator not in OPERATORS:
        return ()
    letters = OPERATORS[operator][0]
    of = {dx: name for name, dx in ONE.items()} | {f"d{name}": name for name in letters}
    name = RESULT if array == "y" else array
    return (*letters.get(name, letters.get(of.get(array, ""), "")).split(),)


def _of(letters: Letters, result: str) -> Callable[[Names], Names]:
    """Return what gives the sizes of a call and the shape of its result."""

    def of(call: Names) -> Names:
        sizes: dict[str, int] = {}
        for name, sides in letters.items():
            array = call.get(name)
            if array is not None and not (name == RESULT and "reduction" in call):
                _add(sizes, name, array, sides.split())
        reduced = result == RESULT and call.get("reduction", "none") != "none"
        shape: shapes.Shape = () if reduced else tuple(sizes[n] for n in letters[result].split())
        if call.get("scale", 1) is None:  # of attention: what it is then
            return {**sizes, "scale": sizes["E"] ** -0.5, "shape": shape}
        return {**sizes, "shape": shape}

    return of


def _add(sizes: dict[str, int], name: str, array: Any, letters: list[str]) -> None:
    """Add the sizes that an array has.

    Raises:
        ValueError: it has other axes, or does not fit the arrays before it.
    """
    if array.ndim != len(letters):
        raise ValueError(f"{name} must have the axes [{', '.join(letters)}], got {array.shape}")
    for letter, side in zip(letters, array.shape, strict=True):
        if sizes.setdefault(letter, side) != side:
            raise ValueError(f"{name} must be {sizes[letter]} long along {letter}, got {side}")


def half(call: Names) -> Names:
    """Return the sizes of a gated linear unit: `C` columns of the result, of twice as many.

    Raises:
        ValueError: z is no matrix of an even number of columns, or dy does not fit.
    """
    z = call["z"]
    if z.ndim != 2 or z.shape[1] % 2:
        raise ValueError(f"z must be a matrix with an even number of columns, got {z.shape}")
    shape = (z.shape[0], z.shape[1] // 2)
    if RESULT in call and call[RESULT].shape != shape:
        raise ValueError(f"{RESULT} must have shape {shape}, got {call[RESULT].shape}")
    return {"N": shape[0], "C": shape[1], "shape": z.shape if RESULT in call else shape}
