"""What the live picture of a formula shows, and with which options: read by `live.js`.

The numbers on a page are computed there; the tests compare them with the oracle's.
"""

from __future__ import annotations

import re
from typing import Any

from gradoracle.conformance.reports.explain import Topic
from gradoracle.conformance.reports.worked_example import symbol
from gradoracle.oracle.declaration import argument_names

WINDOWED = re.compile(r"(conv|conv_transpose|max_pool|avg_pool)([12])d")
CLASSES = 4  # of a softmax
# The arrays of each kind of operator: on the pixels of the image, and on the windows over it.
NAMES = {
    "conv": {"image": "x", "windows": "grad_output", "kernel": "weight"},
    "conv_transpose": {"image": "grad_output", "windows": "x", "kernel": "weight"},
    "max_pool": {"image": "x", "windows": "grad_output"},
    "avg_pool": {"image": "x", "windows": "grad_output"},
}
# Which of them an answer lies on.
ANSWERS = {
    "forward": "windows", "values": "windows", "indices": "windows", "grad_input": "image",
    "grad_weight": "kernel", "vjp": "image",
}  # fmt: skip
BACKWARDS = {"forward": "image", "grad_input": "windows", "grad_weight": "kernel"}
NOTHING = "no window reaches it, or none with this as its maximum"


def live(topic: Topic) -> dict[str, Any] | None:
    """Return what `live.js` draws of a formula; None: it has no live picture."""
    operator, formula = topic
    if formula.__name__ in ("softmax", "softmax_grad"):
        return _softmax(backwards=formula.__name__ == "softmax_grad")
    found = WINDOWED.fullmatch(operator.name)
    role = formula.__name__.removeprefix(operator.name).removeprefix("_") or "forward"
    if found is None or role not in ANSWERS:
        return None
    kind, rank = found[1], int(found[2])
    answers = BACKWARDS if kind == "conv_transpose" else ANSWERS
    answer = symbol(formula)
    return {
        "kind": "windows", "operator": kind, "rank": rank, "role": role, "answer": answers[role],
        "names": {**NAMES[kind], "answer": answer}, "order": [*argument_names(formula)[0]],
        "controls": _controls(kind, rank), "nothing": NOTHING,
        "hint": f"Choose an element of {answer} with the mouse or the arrow keys to see what meets "
        "there; one of the other arrays, to see where it goes.",
    }  # fmt: skip


def _controls(kind: str, rank: int) -> list[dict[str, Any]]:
    transposed = kind == "conv_transpose"
    side = {1: "length of x", 2: "sides of x"}[rank]
    controls = [
        _slider("size", side, 1, 4 if transposed else 7, 3 if transposed else 5),
        _slider("kernel", "kernel", 1, 3, 2 if transposed else 3),
        _slider("stride", "stride", 1, 3, 2),
        _slider("padding", "padding", 0, 2, 0 if transposed else 1),
    ]  # fmt: skip
    if kind != "avg_pool":
        controls.append(_slider("dilation", "dilation", 1, 3, 1))
    if kind.startswith("conv"):
        which = "output channels" if transposed else "channels"
        controls.append(_slider("groups", "groups", 1, 3, 1))
        controls.append(_slider("depth", f"{which} a group", 1, 2, 1))
    if transposed:
        controls.append(_slider("output_padding", "output padding", 0, 2, 0))
    if kind.endswith("pool"):
        controls.append({"name": "ceil_mode", "label": "ceil_mode", "start": False})
    if kind == "avg_pool":
        include = {"name": "count_include_pad", "label": "count_include_pad", "start": True}
        controls.append(include)
    return controls


def _slider(
    name: str, label: str, least: float, most: float, start: float, step: float = 1
) -> dict[str, Any]:
    return {
        "name": name, "label": label, "least": least, "most": most, "start": start, "step": step
    }  # fmt: skip


def _softmax(*, backwards: bool) -> dict[str, Any]:
    starts = (1.0, -0.5, 2.0, 0.0)
    controls = [_slider(f"z{i}", f"z[{i}]", -4, 4, start, 0.25) for i, start in enumerate(starts)]
    if backwards:
        controls += [
            _slider(f"dy{i}", f"dy[{i}]", -2, 2, float(i == 2), 0.25) for i in range(CLASSES)
        ]
    answer = "dz" if backwards else "p"
    return {
        "kind": "softmax", "count": CLASSES, "backwards": backwards, "rank": 1,
        "controls": controls,
        "hint": f"Move z and see all of {answer} move; choose an element of {answer} with the "
        "mouse or the arrow keys to see it in numbers.",
    }  # fmt: skip
