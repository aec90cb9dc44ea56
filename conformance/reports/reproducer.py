"""The pasteable script of a mismatch: NumPy, the backend, literal arrays, one assertion.

It shows the call whose answer is wrong and what is right; properties that are about something
else than the value (inputs changed, bad arguments taken) have their own last lines.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.caller import LONG_RING
from gradoracle.conformance.backends.conventions import as_given, as_returned
from gradoracle.conformance.backends.mismatch import NUMBERS, Answer, Mismatch, WrongElement
from gradoracle.conformance.backends.registry import ADAPTERS
from gradoracle.conformance.drawing.invalid_calls import bad_calls
from gradoracle.conformance.drawing.memory_layouts import FUNCTIONS as LAYOUT_FUNCTIONS
from gradoracle.conformance.drawing.memory_layouts import (
    as_it_is,
    differs,
    filler,
    one_each,
    permuted,
)
from gradoracle.conformance.properties.comparison import truth_of, verdict
from gradoracle.conformance.reports.claim_scripts import CLAIMS, Writer, claim_lines
from gradoracle.conformance.reports.graph_script import graph_script
from gradoracle.conformance.scale.data import LayerCall
from gradoracle.oracle.chains.graph import graph_backward
from gradoracle.oracle.declaration import (
    Call,
    Chained,
    Formula,
    algebra,
    argument_names,
    is_data,
    is_place,
    output_of,
    parts_of,
    whole_of,
)
from gradoracle.oracle.expected.non_finite import NonFiniteTruth
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, data_dtype
from gradoracle.oracle.shapes import Array

NO_LINK = """\
# Every function answers its own call rightly: the fault shows in the chain only, where answers
# become arguments and calls follow each other.  The line under "again" repeats it.
"""


FROM_FILE = "from_file"
QUOTES = "'" * 3
OWN = "own_laid"  # in a script, see `conformance.drawing.memory_layouts.laid`
OWN_LAID = """\
def own_laid(array, lay):  # of NumPy's, where the backend's arrays cannot be viewed so
    try:
        view = lay(array, backend.from_numpy)
        if type(view) is not type(array) and (*view.shape,) == array.shape:
            return view
    except Exception:
        pass
    return backend.from_numpy(lay(array))
"""


class Laid(NamedTuple):
    """How an array lies in memory, and the line that lays it so."""

    layout: str
    line: str


HELPERS = (as_it_is, permuted, filler)
IN_SEQUENCE = ("is_stateless",)
TIMES = 100  # that an answer is asked for again, whose bits must be the same
LITERAL = 64  # elements written as one literal; larger arrays are filled in


def script(
    backend: Backend, name: str, formula: Formula, call: Call, answers: list[Answer],
    mismatch: Mismatch,
) -> str:  # fmt: skip
    """Return a script that shows the mismatch called `name` and fails while it is there."""
    if parts_of(formula) != (formula,):  # the one that was checked last
        formula = answers[-1].formula if answers else parts_of(formula)[0]
    if mismatch.call is not None and not mismatch.layout:
        return _bad_arguments(backend, formula, mismatch.call)
    if name in IN_SEQUENCE and len(answers) > 1:
        return _in_sequence(backend, answers, mismatch)
    if mismatch.call is not None:
        call = mismatch.call
    elif answers and not (isinstance(algebra(formula), Chained) and _is_right(backend, answers[0])):
        formula, call = answers[0].formula, answers[0].call
    if isinstance(algebra(formula), Chained):
        return _of_chain(backend, formula, call, mismatch)
    if isinstance(call, LayerCall):
        return _text(
            [
                *_imports(backend, call),
                "",
                *call.source(),
                *_layer(backend, formula, call, mismatch),
            ]
        )
    if name in CLAIMS and mismatch.shown:
        lines = claim_lines(name, backend, formula, call, mismatch, Writer(_array, _verdict))
        return _text([*_imports(backend, call), *lines])
    laid = _laid(backend, formula, call, mismatch.layout)
    arrays = [*_arrays(backend, formula, call), *_laying(laid)]
    lines = [*_imports(backend, call), *arrays, "", *_ask(backend, formula, call, laid)]
    last = {
        "changed argument": _unchanged, "shared memory": _shared, "changed result": _read_again,
    }.get(mismatch.kind, _verdict)  # fmt: skip
    if name == "is_deterministic" and mismatch.kind == NUMBERS:
        last = _repeated
    return _text([*lines, *last(backend, formula, call)])


def _of_chain(backend: Backend, formula: Formula, call: Call, mismatch: Mismatch) -> str:
    """Return the script of a chain whose functions answer their own calls rightly."""
    if formula is graph_backward and mismatch.kind == NUMBERS:
        lines = graph_script(backend, call, _imports(backend, call), _array)
        if lines:
            return _text(lines)
    return NO_LINK


def _is_right(backend: Backend, answer: Answer) -> bool:
    if answer.value is None or answer.value.shape != answer_shape(answer.formula, answer.call):
        return False
    return not verdict(backend, answer.formula, answer.call, answer.value).wrong.any()


def _in_sequence(backend: Backend, answers: Sequence[Answer], mismatch: Mismatch) -> str:
    """Return a script that makes the calls before the wrong answer, and then that call.

    Numbers of the same shape go into the same arrays, as they came at the same addresses.
    """
    *before, wrong = answers
    lines, there = _imports(backend, wrong.call), dict[str, Array]()
    for one in _once_in_a_row(before):
        lines += [*_refilled(backend, one, there), "", *_ask(backend, one.formula, one.call), ""]
    if mismatch.headline.endswith("illegal"):
        bad = next(iter(bad_calls(wrong.formula, wrong.call)))
        lines += [*_arrays(backend, wrong.formula, bad.call), "", "try:"]
        lines += [f"    {line}" for line in _ask(backend, wrong.formula, bad.call)]
        lines += ["except Exception as error:", '    print("refused:", error)', ""]
        there = {}
    if mismatch.headline.endswith("in other memory"):
        there = {}
    lines += [*_refilled(backend, wrong, there), "", *_ask(backend, wrong.formula, wrong.call)]
    return _text([*lines, *_verdict(backend, wrong.formula, wrong.call)])


def _once_in_a_row(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers without those to the same call as the one before."""
    return [
        one
        for at, one in enumerate(answers)
        if not at
        or one.call is not answers[at - 1].call
        or one.formula is not answers[at - 1].formula
    ]


def _refilled(backend: Backend, answer: Answer, there: dict[str, Array]) -> list[str]:
    """Return what makes the arrays of a call, in those that are `there` where they fit."""
    lines, call = [], as_given(backend.contract.policies, answer.call)
    for name in argument_names(answer.formula)[0]:
        array = call[name]
        if not isinstance(array, np.ndarray):
            lines.append(f"{name} = {array!r}")
            there.pop(name, None)
            continue
        known = there.get(name)
        fits = known is not None and (known.shape, known.dtype) == (array.shape, array.dtype)
        if not (fits and known is array):
            made = _array(name, array)
            if fits and made[0].startswith(f"{name} = "):
                made[0] = f"{name}[...] = {made[0].removeprefix(f'{name} = ')}"
            lines += made
        there[name] = array
    return lines


def _repeated(backend: Backend, formula: Formula, call: Call) -> list[str]:
    """Return the lines that ask again and again, every other time with the numbers reversed."""
    numbers = [name for name in argument_names(formula)[0] if is_data(call[name])]
    asked = _ask(backend, formula, call)
    return [
        "bits_before = got.tobytes()",
        "",
        f"for turn in range({2 * TIMES}):",
        *(f"    {name} = np.flip({name}).copy()" for name in numbers),
        *(f"    {line}" for line in asked),
        "    assert turn % 2 == 0 or got.tobytes() == bits_before, (turn, got)",
    ]


def _layer(backend: Backend, formula: Formula, call: LayerCall, mismatch: Mismatch) -> list[str]:
    """Return the lines that show a layer's wrong element, or that there is none of an answer."""
    positional, _ = argument_names(formula)
    absent = [f"{name} = None" for name in positional if call[name] is None]
    shape, dtype = answer_shape(formula, call), answer_dtype(formula, call).name
    lines = [
        *absent, "", *_ask(backend, formula, call), 'print("got", got.dtype, got.shape)',
        f'assert (got.shape, got.dtype) == ({shape}, "{dtype}")',
    ]  # fmt: skip
    if not isinstance(mismatch, WrongElement):
        return lines
    lines.append(f'print("got", got[{mismatch.at}], "want", {mismatch.want!r})')
    if not mismatch.allowed:
        return [*lines, f"assert got[{mismatch.at}] == {mismatch.want!r}  # the data are exact"]
    off = f"abs(float(got[{mismatch.at}]) - {mismatch.want!r})"
    return [*lines, f"assert {off} <= {mismatch.allowed!r}  # what rounding explains"]


def _text(lines: list[str]) -> str:
    """Return the script; literals of arrays may say nan and inf."""
    text = "\n".join(lines) + "\n"
    if re.search(r"[(\[ -](nan|inf)[],]", text):
        return text.replace(
            "import numpy as np\n", "import numpy as np\nfrom numpy import inf, nan\n"
        )
    return text


def _imports(backend: Backend, call: Call) -> list[str]:
    lines = ["import numpy as np", ""]
    if data_dtype(call).name == "bfloat16":
        lines.insert(0, "import ml_dtypes  # NumPy's bfloat16")
    if backend.path:
        path, called, file = backend.path.partition("!")
        module, _, attribute = path.partition(":")
        if backend.text:
            return [*lines[:-1], *_from_text(backend.text)]
        if file and attribute == FROM_FILE:
            return [*lines[:-1], *_from_file(backend.name, file)]
        if called:
            rest = "" if "@" in backend.name else file[len(file.partition("@")[0]) :]
            alone = path in ADAPTERS.values() or not file
            given = file if alone else f"{backend.name}{rest}"
            of = f"{module}.{attribute}({given!r})"
            return [*lines[:-1], f"import {module}", f"backend = {of}", ""]
        return [
            *lines[:-1],
            f"import {module}",
            f"backend = {module}{'.' + attribute if attribute else ''}",
            "",
        ]
    return [*lines, f"backend = ...  # put it here: the object that is checked as {backend.name!r}"]


def _from_text(text: str) -> list[str]:
    """Return what writes the text of a module to a file, and imports a backend from there."""
    quotes = QUOTES if QUOTES not in text and text[-1] not in "\\'" else ""
    literal = f"r{quotes}{text}{quotes}" if quotes else repr(text)
    return [
        "import sys, tempfile",
        "from importlib.util import module_from_spec, spec_from_file_location",
        "from pathlib import Path", "",
        f"SOURCE = {literal}",
        'file = Path(tempfile.mkdtemp(), "given.py")', 'file.write_text(SOURCE, encoding="utf-8")',
        'spec = spec_from_file_location("given", file)',
        "backend = sys.modules[spec.name] = module_from_spec(spec)",
        "spec.loader.exec_module(backend)", "",
    ]  # fmt: skip


def _from_file(name: str, path: str) -> list[str]:
    """Return what imports a backend from the file of Python that `name` begins with."""
    attribute = path.partition("@")[2]
    file = name.removesuffix(attribute)[:-1] if attribute else name
    folder, stem = Path(file).parent.as_posix(), Path(file).stem
    return [
        "import sys", "from importlib.util import module_from_spec, spec_from_file_location", "",
        f"sys.path.insert(0, {folder!r})",
        f"spec = spec_from_file_location({stem!r}, {file!r})",
        "module = sys.modules[spec.name] = module_from_spec(spec)",
        "spec.loader.exec_module(module)",
        f"backend = module{'.' + attribute if attribute else ''}", "",
    ]  # fmt: skip


def _arrays(backend: Backend, formula: Formula, call: Call) -> list[str]:
    lines, call = [], as_given(backend.contract.policies, call)
    for part in argument_names(formula):
        for name in part:
            if isinstance(call[name], np.ndarray):
                lines += _array(name, call[name])
            elif call[name] is None:
                lines.append(f"{name} = None")
    return lines


def _laid(backend: Backend, formula: Formula, call: Call, layouts: str) -> dict[str, Laid]:
    """Return how the arrays that do not lie as NumPy makes them are laid, by name."""
    names, own = argument_names(formula)[0], backend.asked.description.from_numpy
    laid = {}
    for name, layout in zip(names, one_each(layouts, len(names)), strict=True):
        array = call[name]
        if isinstance(array, np.ndarray) and layout and differs(layout, array.shape):
            line = f"{name} = {OWN}({name}, {layout})" if own else f"{name} = {layout}({name})"
            laid[name] = Laid(layout, line)
    return laid


def _laying(laid: Mapping[str, Laid]) -> list[str]:
    """Return what lays them so, as `conformance.drawing.memory_layouts` does."""
    if not laid:
        return []
    used = dict.fromkeys(one.layout for one in laid.values())
    functions = [*HELPERS, *(LAYOUT_FUNCTIONS[layout] for layout in used)]
    lines = ["", "# Equal arrays that lie otherwise in memory.", *map(_plain_source, functions)]
    if any(f"{OWN}(" in one.line for one in laid.values()):
        lines.append(OWN_LAID)
    return [*lines, *(one.line for one in laid.values())]


def _plain_source(function: Callable[..., Any]) -> str:
    """Return a function's source without annotations and docstring."""
    (tree,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(tree, ast.FunctionDef)  # noqa: S101 - for the type checker
    tree.returns = None
    for argument in tree.args.args:
        argument.annotation = None
    if ast.get_docstring(tree):
        del tree.body[0]
    return ast.unparse(tree)


def _array(name: str, array: Array) -> list[str]:
    dtype = array.dtype.name
    if array.size <= LITERAL and array.size:
        return [f'{name} = np.array({array.tolist()}, "{dtype}")']
    lines = [f'{name} = np.zeros({array.shape}, "{dtype}")']
    hot = np.flatnonzero(array)
    if hot.size > 1000:
        return [*lines, f"{name}.flat[:] = {array.ravel().tolist()}"]
    if hot.size:
        lines.append(f"{name}.flat[{hot.tolist()}] = {array.flat[hot].tolist()}")
    return lines


def _ask(backend: Backend, formula: Formula, call: Call, made: Collection[str] = ()) -> list[str]:
    """Return what asks the backend; `made` arguments are of its kind already."""
    own = backend.asked.description.from_numpy
    left = backend.left_out(formula)
    positional, options = ([n for n in names if n not in left] for names in argument_names(formula))
    arguments = []
    for name in positional:
        given = isinstance(call[name], np.ndarray) and name not in made
        arguments.append(f"backend.from_numpy({name})" if own and given else f"{name}")
    arguments += [f"{name}={call[name]!r}" for name in options]
    function, place = output_of(formula)
    lines = [f"got = backend.{function}({', '.join(arguments)})"]
    if place == 0 and whole_of(formula) is formula:
        lines.append("got = got[0] if isinstance(got, (tuple, list)) else got")
    elif place is not None:
        lines[0] += f"[{place}]"
    if backend.asked.description.to_numpy:
        return [*lines, "got = backend.to_numpy(got)"]
    if backend.speaks_dlpack:
        return [*lines, "got = np.from_dlpack(got)"]
    return lines


def _verdict(backend: Backend, formula: Formula, call: Call) -> list[str]:
    right, dtype = truth_of(backend, formula, call), data_dtype(call)
    accumulator = backend.contract.accumulator(dtype.name)
    exact = right.is_exact(dtype.name, accumulator)
    want = right.as_float(dtype if exact else np.dtype(np.float64))
    want = as_returned(backend.contract.policies, formula, call, want)
    kind = want.dtype if is_place(formula) else answer_dtype(formula, call)
    lines = [
        *_array("want", want),
        'print("got", got.dtype, got.shape, got, "\\nwant", want.dtype, want.shape, want)',
        f'assert (got.shape, got.dtype) == ({want.shape}, "{kind.name}")',
    ]
    if exact:
        if is_place(formula) or np.isfinite(want).all():
            return [*lines, "assert (got == want).all()  # the data are exact"]
        return [*lines, "assert np.array_equal(got, want, equal_nan=True)  # the data are exact"]
    bound = right.bound(dtype.name, accumulator)
    lines += _array("allowed", bound)
    if isinstance(right, NonFiniteTruth):
        return [*lines, *_not_finite(right)]
    near = "abs(got - want) <= allowed"
    if not np.isfinite(want).all():  # infinity less itself is NaN
        near = f"(got == want) | ({near})"
    return [*lines, f"assert ({near}).all()  # what rounding explains"]


def _not_finite(right: NonFiniteTruth) -> list[str]:
    """Return the lines that show where NaN and infinities must be, and where they may."""
    lost = "want" if right.strict else "np.where(np.isnan(got), got, want)  # inf may become NaN"
    return [
        *_array("must", right.must), *_array("may", right.may),
        f"lost = {lost}",
        "assert np.array_equal(got[must], lost[must], equal_nan=True)",
        "stay = ~must & ~(may & ~np.isfinite(got))",
        "assert (abs(got - want)[stay] <= allowed[stay]).all()  # NaN and inf do not get there",
    ]  # fmt: skip


def _unchanged(backend: Backend, formula: Formula, call: Call) -> list[str]:
    names = [n for n in argument_names(formula)[0] if isinstance(call[n], np.ndarray)]
    lines, given = [], as_given(backend.contract.policies, call)
    for name in names:
        lines += [*_array(f"given_{name}", given[name])]
        lines.append(f"assert {name}.tobytes() == given_{name}.tobytes(), {name}")
    note = "  # arrays of its own: look at what from_numpy made of them"
    return [*lines, note] if backend.asked.description.from_numpy else lines


def _shared(backend: Backend, formula: Formula, call: Call) -> list[str]:
    del backend
    names = [n for n in argument_names(formula)[0] if isinstance(call[n], np.ndarray)]
    return [f"assert not np.shares_memory(got, {name}), {name!r}" for name in names]


def _read_again(backend: Backend, formula: Formula, call: Call) -> list[str]:
    """Return the lines that make other calls and look whether the result is what it was."""
    first, *read = _ask(backend, formula, call)
    names = [n for n in argument_names(formula)[0] if is_data(call[n])]
    again = ["again = kept", *(line.replace("got", "again") for line in read)]
    return [
        "first_answer = np.array(got)",
        first.replace("got = ", "kept = "),
        f"for turn in range({LONG_RING}):",
        *(f"    {name} = -{name}" for name in names),
        f"    {first}",
        *again,
        'print("first", first_answer, "now", np.array(again))',
        "assert np.array_equal(first_answer, again, equal_nan=True)",
    ]


def _bad_arguments(backend: Backend, formula: Formula, call: Call) -> str:
    lines = [*_imports(backend, call), *_arrays(backend, formula, call), "", "try:"]
    lines += [f"    {line}" for line in _ask(backend, formula, call)]
    lines += [
        "except Exception as error:",
        '    print("refused, as it must be:", error)',
        "else:",
        '    raise AssertionError("took arguments that fit no such operation")',
    ]
    return _text(lines)
