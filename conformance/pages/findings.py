"""The mismatches of a certificate, ready to be shown: their arrays as pictures, and what explains.

What a certificate says is anybody's: of arrays and options that fit no call there are no pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gradoracle.conformance.pages.heat_maps import Map, Marks, largest, maps
from gradoracle.conformance.pages.windows import Windows, geometry_of, picture
from gradoracle.conformance.reports.certificate import Certificate, Outcome, mismatch_of
from gradoracle.conformance.reports.explain import Topic, topics
from gradoracle.conformance.reports.traced import terms_of, traced
from gradoracle.conformance.reports.worked_example import Example
from gradoracle.oracle.shapes import Array

LONGEST = 8000  # letters of a script that are shown
T = TypeVar("T")


class Figure(NamedTuple):
    """The heat maps of an array."""

    title: str
    about: str  # dtype and shape
    maps: list[Map]
    more: int = 0  # planes that are not shown


class Reach(NamedTuple):
    """Which elements of the call an element of the answer is made of."""

    sentence: str = ""
    rings: Mapping[str, Array] = {}


class Finding(NamedTuple):
    """A mismatch as its page shows it."""

    number: int
    outcome: Outcome
    report: Mapping[str, Any]
    figures: list[Figure]
    answers: list[Figure]
    windows: Windows | None
    options: str
    sentence: str

    @property
    def script(self) -> str:
        """Its script, cut where it is long."""
        whole = str(self.report.get("script", "")).rstrip()
        if len(whole) <= LONGEST:
            return whole
        rest = len(whole) - LONGEST
        return f"{whole[:LONGEST]}\n# ... and {rest} more letters: gradoracle replay --script"

    @property
    def equation(self) -> str:
        """The equation that the answer violates."""
        return str(self.report.get("equation", ""))


def findings(certificate: Certificate) -> list[Finding]:
    """Return the mismatches of a certificate, in the order of `gradoracle replay`."""
    known = topics()
    wrong = [one for one in certificate.outcomes if one.status == "mismatch"]
    return [_finding(number, one, known) for number, one in enumerate(wrong, 1)]


def _finding(number: int, outcome: Outcome, known: Mapping[str, Topic]) -> Finding:
    report = mismatch_of(outcome)
    call = {n: _argument(v) for n, v in report.get("arguments", {}).items()}
    topic = known.get(report.get("formula", ""))
    compared = _compared(report.get("compared"))
    element = report.get("element") or {}
    place = tuple(element.get("index", ()))
    reach, windows = Reach(), None
    unread = [
        n for n, v in report.get("arguments", {}).items() if v is not None and call[n] is None
    ]
    if topic is not None and compared is not None and not unread:
        reach = _or(Reach(), lambda: _reach(topic, call, place, compared))
        windows = _or(None, lambda: _windows(topic, call, place, compared, reach))
    figures = [*_arguments(call, report.get("arguments", {}), reach.rings)]
    options = [f"{n}={v}" for n, v in call.items() if not isinstance(v, np.ndarray)]
    return Finding(
        number, outcome, report, figures, [] if compared is None else compared.figures(), windows,
        ", ".join(options), reach.sentence,
    )  # fmt: skip


def _or(otherwise: T, make: Callable[[], T]) -> T:
    """Return what is made, or something else where a certificate's call is none."""
    try:
        return make()
    except FITS_NOT:
        return otherwise


FITS_NOT = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, TypeError, ValueError
)  # fmt: skip


# -- the arrays -----------------------------------------------------------------------------------


def _argument(value: Any) -> Any:
    """Return an argument of a certificate as a call has it."""
    if isinstance(value, dict):
        return array_of(value)
    return tuple(value) if isinstance(value, list) else value


def array_of(value: Mapping[str, Any]) -> Array | None:
    """Return the array that a certificate has as a list of elements; None: they are not as many."""
    dtype, shape, data = value["dtype"], tuple(value["shape"]), value["data"]
    if prod(shape) != len(data):
        return None
    integers = dtype.startswith(("int", "uint"))
    kind = np.bool_ if dtype == "bool" else np.int64 if integers else np.float64
    return _or(None, lambda: np.array([float(v) for v in data]).astype(kind).reshape(shape))


class Compared(NamedTuple):
    """A wrong answer and the right one, or the part of them that starts at `start`."""

    shape: tuple[int, ...]
    start: tuple[int, ...]
    got: Array
    want: Array
    wrong: Array

    def figures(self) -> list[Figure]:
        """Return what came, what is right and their difference."""
        marks = Marks(wrong=self.wrong.astype(bool))
        most = largest(self.got, self.want)
        shape = f"{[*self.shape]}"
        with np.errstate(all="ignore"):
            difference = self.got.astype(float) - self.want
        count, size = int(self.wrong.sum()), self.wrong.size
        return [
            _figure("what came", shape, self.got, marks, self.start, most),
            _figure("what is right", shape, self.want, marks, self.start, most),
            _figure("difference", f"{count} of {size} elements here wrong", difference, marks,
                    self.start),
        ]  # fmt: skip

    def whole(self) -> bool:
        """Whether it is not a part."""
        return self.shape == self.got.shape


def _compared(value: Mapping[str, Any] | None) -> Compared | None:
    if value is None:
        return None
    got, want, wrong = (array_of(value[name]) for name in ("got", "want", "wrong"))
    if got is None or want is None or wrong is None or not got.shape == want.shape == wrong.shape:
        return None
    shape, start = tuple(value["shape"]), tuple(value["start"])
    if not len(shape) == len(start) == got.ndim or not got.size:
        return None
    return Compared(shape, start, got, want, wrong)


def _arguments(
    call: Mapping[str, Any], given: Mapping[str, Any], rings: Mapping[str, Array]
) -> Iterator[Figure]:
    for name, array in call.items():
        if isinstance(array, np.ndarray):
            about = f"{given[name]['dtype']} {[*array.shape]}"
            yield _figure(name, about, array, Marks(rings.get(name)))


def _figure(
    title: str, about: str, array: Array, marks: Marks, start: tuple[int, ...] = (),
    most: float | None = None,
) -> Figure:  # fmt: skip
    shown = maps(array, title, marks, start=start, most=most)
    return Figure(title, about, shown, prod(array.shape[:-2]) - len(shown))


# -- what reaches the wrong element ---------------------------------------------------------------


def _reach(
    topic: Topic, call: Mapping[str, Any], place: tuple[int, ...], compared: Compared
) -> Reach:
    """Return what the oracle's loops add up to the right element, where they do."""
    found = traced(topic.formula, call)
    if found is None:
        return Reach()
    at = tuple(i - first for i, first in zip(place, compared.start, strict=True))
    want, terms = float(compared.want[at]), terms_of(found[place])
    if float(getattr(found[place], "value", found[place])) != want:
        return Reach()  # another convention than the formula's
    rings = {n: np.zeros(v.shape, bool) for n, v in call.items() if isinstance(v, np.ndarray)}
    for factor in (one for term in terms for one in term.factors):
        if factor.name in rings:
            rings[factor.name][factor.place] = True
    answer = np.full(compared.shape, want) if compared.whole() else np.array(want)
    here = place if compared.whole() else ()
    shown = Example(topic.formula, call, answer, here, terms)
    return Reach(shown.sentence or "no product reaches it: it is 0", rings)


def _windows(
    topic: Topic, call: Mapping[str, Any], place: tuple[int, ...], compared: Compared, reach: Reach
) -> Windows | None:
    geometry = geometry_of(*topic, call, compared.shape)
    if geometry is None or not place:
        return None
    rank = len(geometry.axes)
    image = call.get(geometry.image)
    if isinstance(image, np.ndarray):
        ringed = np.argwhere(reach.rings.get(geometry.image, np.zeros(0)))
        leading = tuple(ringed[0][:-rank].tolist()) if ringed.size else (0,) * (image.ndim - rank)
        image = image[leading]
    elif geometry.kind == "pixel" and compared.whole():
        image = compared.want[place[:-rank]]
    else:
        image = None
    return picture(geometry, place, image)
