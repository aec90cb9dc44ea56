"""How a backend behaves, whatever it computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend, Reused, is_same
from gradoracle.conformance.backends.caller import BESIDE, LONG_RING, describe
from gradoracle.conformance.backends.mismatch import Declined, Mismatch, Outside
from gradoracle.conformance.drawing.choices import spread
from gradoracle.conformance.drawing.invalid_calls import bad_calls
from gradoracle.conformance.drawing.memory_layouts import (
    ALONG,
    EXPANDED,
    GUARDED,
    LAYOUTS,
    SHARED,
    differs,
    expansions,
    one_each,
    words,
)
from gradoracle.conformance.operators.layer_options import of_many_channels
from gradoracle.conformance.operators.record import Arguments, Geometry, Operator
from gradoracle.conformance.operators.textbook import with_ones
from gradoracle.conformance.operators.variations import drawn, without
from gradoracle.conformance.properties.answers import Answered, require_close
from gradoracle.conformance.properties.comparison import require_form, require_truth, truth_of
from gradoracle.conformance.properties.property import NothingToJudge, NotJudged, holds, is_function
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    axes_of,
    is_data,
    is_place,
    operands,
    optional,
    output_of,
)
from gradoracle.oracle.derive import ANY_MORE
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, format_of
from gradoracle.oracle.shapes import Array

RING, FEW = 4, 32  # as LONG_RING, of calls of more numbers than few
# Ways for one argument beside others.
ALONE = ("channels_last", "fortran", "sliced", "upside_down", "transposed")
BYTES = 16  # of the alignment that a contract may claim
IN_TURN = ("channels_last", "sliced", "fortran", "reversed_rows", "spaced")
FEW_CALLS = 3  # that show whether anything can be spoilt
MAY_BE_REFUSED = "unaligned"
LARGE = 4096  # elements of a call whose arguments lie in a few ways only


@holds(kind="every", share=0.2, asks="arguments", in_turn="in whole runs")
def leaves_inputs_unchanged(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Every argument is, after the call, bit for bit what it was."""
    del operator
    for name in backend.changed_arguments(formula, call):
        raise Mismatch(f"{formula.__name__}: changed its argument {name}")
    return 0.0


@holds(kind="all", share=0.2, in_turn="in whole runs")
def returns_what_the_protocol_says(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """The answer is a new array of the documented shape, in the dtype of the inputs, finite where
    the inputs are, with and without optional arguments; no later call changes it.
    """  # noqa: D205 - one sentence
    given = [n for n in optional(formula) if n != operator.argument_of(formula)]
    absent = [without(operator, call, name) for name in given if call[name] is not None]
    for one in [call, *(one for one in absent if backend.is_inside(formula, one))]:
        got = backend.reused(formula, one, _others(backend, operator, formula, one))
        if got.shares:
            raise Mismatch(
                f"{formula.__name__}: its result shares memory with its argument {got.shares}"
            )
        if not is_same(got.answer, got.again):
            raise Mismatch(
                f"{formula.__name__}: an earlier result changed when other calls were made: it is "
                "not a new array"
            )
        shape, dtype = answer_shape(formula, one), answer_dtype(formula, one)
        require_form(formula.__name__, got.answer, shape, dtype)
        finite = all(np.isfinite(array).all() for array in operands(formula, one).values())
        wrong = ~np.isfinite(got.answer) if finite and not is_place(formula) else np.False_
        if wrong.any():
            wrong &= np.isfinite(_bound(backend, formula, one))  # elsewhere it may overflow
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0].tolist())
            raise Mismatch(
                f"{formula.__name__}[{', '.join(map(str, at))}]: got {got.answer[at]} from finite "
                "data"
            )
        if not is_same(got.answer, got.late):
            what = f"{formula.__name__}, read after the next calls"
            require_form(what, got.late, shape, dtype)
            _require_as_good(backend, operator, formula, one, what, got)
    return 0.0


def _others(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> list[tuple[Formula, Call]]:
    """Return calls that must leave a result alone: some of its kind, and the other functions'.

    Those are asked for only where the contract claims them in the call's dtype.
    """
    first = next(iter(operands(formula, call)))
    names = dict.fromkeys((first, *optional(formula)))
    changed = {n: np.asarray(-call[n]) for n in names if is_data(call.get(n))}
    own = output_of(formula).function
    others = {output_of(f).function: f for f in operator.formulas if is_function(f)}
    dtype = format_of(call)
    numbers = sum(array.size for array in operands(formula, call).values())
    beside = [(f, call) for name, f in others.items() if name != own and backend.claims(f, dtype)]
    return [
        *beside[:BESIDE],
        *[(formula, {**call, **changed})] * (LONG_RING if numbers <= FEW else RING),
    ]


def _require_as_good(
    backend: Backend, operator: Operator, formula: Formula, call: Call, what: str, got: Reused
) -> None:
    """Raise Mismatch unless two answers to the same call agree as well as rounding lets them."""
    if operator.unsettled(backend.contract.policies, formula, call):
        return
    bound = _bound(backend, formula, call)
    require_close(what, Answered(got.late, bound), Answered(got.answer, bound))


def _bound(backend: Backend, formula: Formula, call: Call) -> Array:
    name = format_of(call)
    return truth_of(backend, formula, call).bound(name, backend.contract.accumulator(name))


def _listed(operator: Operator, formula: Formula) -> Sequence[Geometry]:
    """Return calls with axes of one entry and of several, and layers as networks have them."""
    of_one = len(argument_names(operator.formula)[0]) == 1
    layers = _as_they_are(operator) if of_one else _in_eights(operator)
    return (*with_ones(operator, formula), *layers)


_known_layers: dict[Operator, tuple[Geometry, ...]] = {}


def _as_they_are(operator: Operator) -> tuple[Geometry, ...]:
    """Return the poolings of networks: fast paths know them."""
    if operator not in _known_layers:
        layers = [one for one in operator.variants() if not one.change]
        _known_layers[operator] = tuple(
            Geometry("layers", layer.region, layer.sizes(spread(layer.region)), at)
            for at, layer in enumerate(layers)
        )
    return _known_layers[operator]


def _in_eights(operator: Operator) -> tuple[Geometry, ...]:
    """Return the layers of convolutions with channels in eights, as kernels of NHWC take them.

    They have more elements than arrays that lie in all ways.
    """
    if operator not in _known_layers:
        layers = [one for one in operator.variants() if not one.change]
        found = (of_many_channels(one, spread(one.region), LARGE) for one in layers)
        _known_layers[operator] = tuple(one for one in found if one is not None)
    return _known_layers[operator]


@holds(kind="any", share=0.03, at_ones=True, at_smallest=False, listed=_listed, in_turn="always")
def ignores_memory_layout(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """The answer depends on the arguments' numbers, not on how they lie in memory: columns or
    channels first, with gaps, backwards, in one place (along an axis, a plane or all), read-only;
    all arguments so, one alone, or each in another way, or two of them one array.  Nothing is read
    or written right before or behind an argument.
    """  # noqa: D205 - one sentence
    ways = [one for one in _ways(formula, call) if backend.isolated or not _is_guarded(one)]
    if backend.contract.rule("alignment") == BYTES:
        ways = [one for one in ways if _is_aligned(formula, call, one)]
    if not ways:
        raise NotJudged("arrays without elements have one layout")
    backend.foresee((formula, call), how=("", *ways))
    plain = backend.ask(formula, call)
    declined: list[Declined] = []
    for layouts in ways:
        try:
            _require_the_same(backend, operator, formula, call, plain, layouts)
        except Declined as one:  # the others are checked all the same
            declined.append(one)
    of = (operator, formula, call)
    others = [*_in_one_place(*of), *_in_one_array(*of)]
    for same, layouts in others:
        backend.foresee((formula, same), how=("", layouts))
    for same, layouts in others:
        plain = backend.ask(formula, same)
        try:
            _require_the_same(backend, operator, formula, same, plain, layouts)
        except Declined as one:
            declined.append(one)
    if declined:
        raise declined[0]
    return 0.0


def _in_one_place(operator: Operator, formula: Formula, call: Call) -> Iterator[tuple[Call, str]]:
    """Yield calls whose arguments are the same along axes, laid in one place along them.

    One argument alone along all of its axes, as the gradient of a sum lies, and all arguments along
    some of them.  There are none where they cannot be the same, as rows of probabilities.
    """
    data = _data(formula, call)
    ways = {name: dict(expansions(call[name].shape)) for name, _ in data}
    for layout in (EXPANDED, *ALONG):
        those = [one for one in data if layout in ways[one[0]]]
        for some in ([one] for one in those) if layout == EXPANDED else [those]:
            axes = {name: ways[name][layout] for name, _ in some}
            level = {name: _level(call[name], of) for name, of in axes.items()}
            same = operator.complete({**call, **level}, 0)
            lying = [at for n, at in some if is_same(same[n], _level(same[n], axes[n]))]
            if lying:
                yield same, _only(lying, layout)


def _in_one_array(operator: Operator, formula: Formula, call: Call) -> Iterator[tuple[Call, str]]:
    """Yield the calls in which two arguments of one shape are one array, and their layouts."""
    for (name, at), (other, behind) in combinations(_data(formula, call), 2):
        if call[name].shape == call[other].shape:
            layouts = ["", *[""] * behind]
            layouts[at] = layouts[behind] = SHARED
            yield operator.complete({**call, other: call[name]}, 0), ",".join([*layouts, ""])


def _level(array: Array, axes: tuple[int, ...]) -> Array:
    """Return an array whose elements are equal along some axes, all of them finite."""
    finite = array[np.isfinite(array)]  # no call has infinities only
    level = np.where(np.isfinite(array), array, finite[-1] if finite.size else 1)
    first = tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(array.ndim))
    return np.broadcast_to(level[first], array.shape).astype(array.dtype)


def _require_the_same(
    backend: Backend, operator: Operator, formula: Formula, call: Call, plain: Array, layouts: str
) -> None:
    """Raise Mismatch unless the answer is as good when the arguments lie so."""
    try:
        if layouts == MAY_BE_REFUSED and backend.refuses(formula, call, layouts)[0]:
            return
        got = backend.ask(formula, call, layouts)
        if not is_same(plain, got) and not operator.unsettled(
            backend.contract.policies, formula, call
        ):
            require_truth(backend, formula, call, got)
    except Mismatch as mismatch:
        headline = f"{mismatch.headline}; {_lying(formula, call, layouts)}"
        if layouts == "offset":
            headline += (
                f"; a function that needs {BYTES}-byte alignment claims "
                f'{{"policies": {{"alignment": {BYTES}}}}}'
            )
        raise Mismatch(headline, call, layouts) from None


def _ways(formula: Formula, call: Call) -> list[str]:
    """Return the layouts of a call's arguments: one alone, all, and mixed."""
    positional = argument_names(formula)[0]
    shapes = {n: call[n].shape for n in positional if isinstance(call[n], np.ndarray)}
    if sum(map(prod, shapes.values())) > LARGE:
        return [
            *(",".join(IN_TURN[(at + by) % len(IN_TURN)] for at in range(5)) for by in range(3)),
            "channels_last",
            *(layout for layout in GUARDED if any(differs(layout, s) for s in shapes.values())),
        ]
    together = [n for n, layout in LAYOUTS.items() if any(map(layout.differs, shapes.values()))]
    if len(shapes) == 1:
        return together
    together = [n for n in together if n not in GUARDED]  # one alone: a crash names it
    alone = [
        _only([at], layout)
        for at, name in enumerate(positional) if name in shapes
        for layout in (*ALONE, *GUARDED) if differs(layout, shapes[name])
    ]  # fmt: skip
    mixed = ",".join(IN_TURN[at % len(IN_TURN)] for at in range(len(positional)))
    return [*alone, *together, mixed]


def _is_aligned(formula: Formula, call: Call, layouts: str) -> bool:
    """Return whether contiguous arrays have addresses that are multiples of `BYTES`."""
    names = argument_names(formula)[0]
    for name, layout in zip(names, one_each(layouts, len(names)), strict=True):
        array = call[name]
        off = layout == "ends_at_guard" and isinstance(array, np.ndarray) and array.nbytes % BYTES
        if layout == "offset" or off:
            return False
    return True


def _is_guarded(layouts: str) -> bool:
    """Return whether a stray access would end the process, which must not be ours."""
    return any(one in GUARDED for one in layouts.split(","))


def _only(places: Sequence[int], layout: str) -> str:
    """Return the layouts of a call of whose arguments only some lie otherwise."""
    each = [layout if at in places else "" for at in range(max(places) + 1)]
    return ",".join(each) if len(each) > 1 else f"{layout},"


def _data(formula: Formula, call: Call) -> list[tuple[str, int]]:
    """Return the arguments that hold numbers, with their positions."""
    names = argument_names(formula)[0]
    return [(n, at) for at, n in enumerate(names) if is_data(call[n]) and call[n].size]


def _lying(formula: Formula, call: Call, layouts: str) -> str:
    """Return in words how the arguments lie in memory."""
    names = argument_names(formula)[0]
    each = one_each(layouts, len(names))
    lying = [
        f"{name} lies {words(layout)}"
        for name, layout in zip(names, each, strict=True)
        if layout and isinstance(call[name], np.ndarray)
    ]
    if "," in layouts:
        return ", ".join(lying)
    return f"its arguments lie {words(layouts)}"


def _can_be_misused(operator: Operator, formula: Formula) -> bool:
    return is_function(formula) and not _takes_anything(operator, formula)


def _takes_anything(operator: Operator, formula: Formula) -> bool:
    """Return whether nothing about a formula's calls can be spoilt: shapes and factors are free."""
    if any(not isinstance(v, float) for v in _drawn(operator).options.values()):
        return False
    axes, names = axes_of(formula).arrays, argument_names(formula)[0]
    if not all(ANY_MORE in axes.get(name, ()) for name in names):
        return False
    style = (operator.styles.floats or operator.styles.exact)[0]
    calls = (
        operator.call(drawn(operator, at).sizes, style, 1, "float64") for at in range(FEW_CALLS)
    )
    return not any(any(bad_calls(formula, call)) for call in calls)


def _drawn(operator: Operator) -> Arguments:
    return operator.arguments(drawn(operator, 0).sizes)


@holds(kind="all", share=0.15, where=_can_be_misused, once=True, in_turn="in whole runs")
def rejects_bad_arguments(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Arguments that fit no such operation raise an exception instead of giving numbers, where the
    contract claims {"bad_arguments": "raise"}; elsewhere they end in no crash and no hang, and what
    is accepted is a note.
    """  # noqa: D205 - one sentence
    del operator
    spoilt = [bad for bad in bad_calls(formula, call) if backend.is_inside(formula, bad.call)]
    if not spoilt:
        raise NothingToJudge("nothing about its calls can be spoilt")
    backend.foresee((formula, call), *((formula, bad.call) for bad in spoilt))
    backend.ask(formula, call)  # what declines the legal call says nothing about the others
    made = 0
    for bad in spoilt:
        try:
            refused, result = backend.refuses(formula, bad.call)
        except Outside:  # not made: the backend's `supports` leaves it out
            continue
        made += 1
        if backend.contract.rule("bad_arguments") != "raise":
            backend.note_bad_call(bad.kind, accepted=not refused)
        elif not refused:
            raise Mismatch(
                f"{formula.__name__}: took {bad.change} and returned {_shown(result)}, "
                f"where the oracle raises: {bad.reason}",
                call=bad.call,
            )
    if not made:
        raise NothingToJudge("supports() accepts no call with bad arguments")
    return 0.0


def _shown(result: Any) -> str:
    """Return an array's dtype and shape, or the words for what is no array."""
    return result if isinstance(result, str) else describe(result)
