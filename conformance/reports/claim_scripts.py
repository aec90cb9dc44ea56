"""The last part of scripts for what a contract claims beside right values.

Bits in other batches, calls at once, results that are written into `out`, gradients that a mask
selects, derivatives along tangents: the call alone does not show these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import DOUBLE_BACKWARD, JVP, Backend
from gradoracle.conformance.backends.caller import MASK
from gradoracle.conformance.backends.conventions import as_given
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.properties.outputs import gradients
from gradoracle.oracle.declaration import Call, Formula, argument_names, output_of
from gradoracle.oracle.derive import TANGENT
from gradoracle.oracle.shapes import Array

Lines = list[str]
TIMES = 5000  # that each thread makes its call


class Writer(NamedTuple):
    """What writes parts of a script: an array of a name, and the verdict on `got`."""

    array: Callable[[str, Array], Lines]
    verdict: Callable[[Backend, Formula, Call], Lines]


def claim_lines(
    name: str, backend: Backend, formula: Formula, call: Call, mismatch: Mismatch, writer: Writer
) -> Lines:
    """Return the lines that show a mismatch of the property `name`, after the imports."""
    return CLAIMS[name](backend, formula, call, mismatch.shown, writer)


def _asked(backend: Backend, formula: Formula, call: Call, write: Writer, last: str) -> Lines:
    """Return the lines that make a call's arguments, each name with `last` behind it.

    The last line makes a function of no arguments, `ask` with `last` behind it.
    """
    positional, options = argument_names(formula)
    given, left = as_given(backend.contract.policies, call), backend.left_out(formula)
    lines: Lines = []
    for name in (n for n in positional if n not in left):
        value = given[name]
        lines += write.array(f"{name}{last}", value) if isinstance(value, np.ndarray) else [
            f"{name}{last} = {value!r}"
        ]  # fmt: skip
    shown = [_own(backend, f"{n}{last}", given[n]) for n in positional if n not in left]
    shown += [f"{n}={given[n]!r}" for n in options if n not in left]
    function, place = output_of(formula)
    result = f"backend.{function}({', '.join(shown)})" + ("" if place is None else f"[{place}]")
    return [*lines, f"ask{last} = lambda: {_read(backend, result)}"]


def _own(backend: Backend, name: str, value: Any) -> str:
    converted = backend.asked.description.from_numpy and isinstance(value, np.ndarray)
    return f"backend.from_numpy({name})" if converted else name


def _read(backend: Backend, result: str) -> str:
    if backend.asked.description.to_numpy:
        return f"backend.to_numpy({result})"
    return f"np.from_dlpack({result})" if backend.speaks_dlpack else result


def _in_batches(
    backend: Backend, formula: Formula, call: Call, shown: Mapping[str, Any], write: Writer
) -> Lines:
    image, place = shown["image"], shown["place"]
    return [
        *_asked(backend, formula, call, write, ""),
        *_asked(backend, formula, shown["other"], write, "_2"),
        f"one, other = np.array(ask()[{image}]), np.array(ask_2()[{place}])  # the same image",
        'print("one", one, "\\nother", other)',
        "assert one.tobytes() == other.tobytes()",
    ]


def _at_once(
    backend: Backend, formula: Formula, call: Call, shown: Mapping[str, Any], write: Writer
) -> Lines:
    del call  # it may be the other one whose answer is wrong
    wrong, other = shown["wrong"], shown["other"]
    return [
        "import sys", "import threading", "",
        *_asked(backend, formula, wrong, write, ""),
        *_asked(backend, formula, other, write, "_2"),
        "alone, found, start = np.array(ask()), [], threading.Barrier(2)",
        "def again(ask, found):  # a race: it may take more than one run to show",
        "    start.wait()",
        f"    found += [np.array(ask()) for _ in range({TIMES})]",
        "sys.setswitchinterval(1e-6)",
        "threads = [threading.Thread(target=again, args=of) for of in ((ask, found), (ask_2, []))]",
        "for one in threads:",
        "    one.start()",
        "for one in threads:",
        "    one.join()",
        "for got in found:",
        "    if got.tobytes() == alone.tobytes():",
        "        continue",
        *(f"    {line}" for line in write.verdict(backend, formula, wrong)),
    ]  # fmt: skip


def _into(
    backend: Backend, formula: Formula, call: Call, shown: Mapping[str, Any], write: Writer
) -> Lines:
    *lines, last = _asked(backend, formula, call, write, "")
    beta = "" if shown["beta"] is None else f", beta={shown['beta']!r}"
    function = f"backend.{output_of(formula).function}("
    ask = function + last.partition(function)[2].rpartition(")" * _closing(backend))[0]
    held: Array = shown["held"]
    lines += [
        *_around(held, write),
        f"out = {_own(backend, 'out', held)}",
        f"{ask}, out=out{beta})",
    ]
    lines += [
        f"got = {_read(backend, 'out')}",
        "assert (flat[:64] == 77).all() and (flat[-64:] == 77).all()  # nothing around it",
    ]
    if "want" not in shown:
        return [*lines, *write.verdict(backend, formula, call)]
    lines += [*write.array("want", shown["want"]), *write.array("allowed", shown["allowed"])]
    return [*lines, "assert (abs(got - want) <= allowed).all(), got  # what rounding explains"]


def _closing(backend: Backend) -> int:
    return 2 if backend.asked.description.to_numpy or backend.speaks_dlpack else 1


def _around(held: Array, write: Writer) -> Lines:
    """Return the lines that make `out`, the middle of an array whose other elements are 77."""
    made = write.array("held", held)
    if np.isnan(held.astype(np.float64)).all():
        made = [f'held = np.full({held.shape}, np.nan, "{held.dtype}")']
    return [
        *made,
        "flat = np.full(held.size + 128, 77, held.dtype)",
        "out = flat[64 : flat.size - 64].reshape(held.shape)",
        "out[...] = held",
    ]


def _masked(
    backend: Backend, formula: Formula, call: Call, shown: Mapping[str, Any], write: Writer
) -> Lines:
    operator = next(one for one in OPERATORS if one.formula is formula)
    positional, options = argument_names(formula)
    given = as_given(backend.contract.policies, call)
    names, mask, at = ("grad_output", *positional), shown["mask"], shown["at"]
    lines: Lines = []
    for name in names:
        value = given[name]
        lines += write.array(name, value) if isinstance(value, np.ndarray) else [f"{name} = None"]
    arguments = [_own(backend, n, given[n]) for n in names]
    arguments += [f"{n}={given[n]!r}" for n in options] + [f"{MASK}={mask!r}"]
    part = f"parts[{at}]"
    return [
        *lines,
        f"parts = backend.{operator.name}_backward({', '.join(arguments)})",
        f"assert tuple(part is not None for part in parts) == {mask!r}",
        f"got = {_read(backend, part)}",
        *write.verdict(backend, gradients(operator)[at], call),
    ]


def _derivative(
    backend: Backend, formula: Formula, call: Call, shown: Mapping[str, Any], write: Writer
) -> Lines:
    operator = next(one for one in OPERATORS if one.formula is formula)
    positional, options = argument_names(formula)
    want, tangents = shown.get("want"), {TANGENT + n: v for n, v in shown["tangents"].items()}
    second = isinstance(want, list)
    dy = {"grad_output": call["grad_output"]} if second else {}
    given = {**tangents, **dy, **{n: call[n] for n in positional}}
    lines: Lines = []
    for name, value in given.items():
        lines += write.array(name, value) if value is not None else [f"{name} = None"]
    arguments = [_own(backend, name, value) for name, value in given.items()]
    arguments += [f"{name}={call[name]!r}" for name in options]
    function = operator.name + (DOUBLE_BACKWARD if second else JVP)
    lines.append(f"found = backend.{function}({', '.join(arguments)})")
    if "of" in shown:
        moved = {**call, **{TANGENT + name: v for name, v in shown["tangents"].items()}}
        verdict = write.verdict(backend, shown["of"], moved)
        return [*lines, f"got = {_read(backend, 'found')}", *verdict]
    for at, one in enumerate(want if isinstance(want, list) else [want]):
        part = f"found[{at}]" if second else "found"
        lines += [f"got = {_read(backend, part)}", *write.array("want", np.asarray(one))]
        lines.append("assert np.array_equal(got, want), (got, want)  # the data are exact")
    return lines


CLAIMS: dict[str, Callable[..., Lines]] = {
    "is_batch_invariant": _in_batches, "is_thread_safe": _at_once, "writes_into_out": _into,
    "selects_by_output_mask": _masked, "matches_forward_mode": _derivative,
    "matches_double_backward": _derivative,
}  # fmt: skip
