"""A formula as a page: the equation beside its loops, and pictures of what meets where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.pages import charts, render
from gradoracle.conformance.pages.findings import Figure
from gradoracle.conformance.pages.heat_maps import Marks, largest, maps
from gradoracle.conformance.pages.live import live
from gradoracle.conformance.pages.windows import Windows, geometry_of, picture
from gradoracle.conformance.reports.explain import (
    Topic,
    counterexample,
    judged,
    loops,
    misconceptions,
    properties,
    raises,
    remarks,
    role,
    signature_of,
    summary,
)
from gradoracle.conformance.reports.worked_chain import chain_example, steps_of
from gradoracle.conformance.reports.worked_example import Example, example, symbol
from gradoracle.oracle.declaration import (
    Call,
    Composed,
    Selection,
    algebra,
    argument_names,
    displayed,
    evaluate,
    is_data,
)
from gradoracle.oracle.document_forms.forms import FORMS
from gradoracle.oracle.errata import Erratum, errata_of
from gradoracle.oracle.shapes import Array

ENDS, POINTS = 5.0, 201  # of a curve


class Link(NamedTuple):
    """Where another page is, and what it is about."""

    file: str
    title: str


class Printed(NamedTuple):
    """An erratum as it is shown: its words, its smallest call and both answers."""

    erratum: Erratum
    rows: list[tuple[str, str]]
    figures: list[Figure]
    answers: list[Figure]


class Worked(NamedTuple):
    """A worked example as it is shown; of a chain, `links` are what its formulas give."""

    figures: list[Figure]
    options: str
    sentence: str
    windows: Windows | None
    links: Sequence[Answered] = ()


class Answered(NamedTuple):
    """A formula of a chain, its answer, and an element of it in numbers."""

    name: str
    figure: Figure
    sentence: str


def formula_page(
    topic: Topic, *, back: Link | None = None, before: Link | None = None, after: Link | None = None
) -> str:
    """Return the page of a formula, with links to other pages of a book.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    formula = topic.formula
    equation, source = displayed(formula)
    spec = live(topic)
    values = {
        "name": formula.__name__, "role": role(topic), "equation": equation,
        "source": source.replace("`", ""),
        "summary": summary(formula), "remarks": remarks(formula), "raises": raises(formula),
        "signature": signature_of(topic), "loops": [_highlighted(code) for code in loops(formula)],
        "judged": [one for one in judged(formula) if one], "forms": FORMS.get(formula, ()),
        "errata": [_printed(one) for one in errata_of(formula) if one.formula is formula],
        "elsewhere": [
            Printed(one, [("see", one.formula.__name__)], [], [])
            for one in errata_of(formula) if one.formula is not formula
        ],
        "misconceptions": [one.replace("`", "") for one in misconceptions(formula)],
        "properties": properties(topic),
    }  # fmt: skip
    return render.page(
        "formula.html", *(["live.js"] if spec else []), **values, worked=_worked(topic),
        live=spec and render.data(spec), curve=_curve(topic), back=back, before=before,
        after=after,
    )  # fmt: skip


def _highlighted(code: str) -> str:
    formatter = HtmlFormatter(nowrap=True, classprefix="k-")
    return str(highlight(code, PythonLexer(), formatter))


# -- the worked example ---------------------------------------------------------------------------


def _worked(topic: Topic) -> Worked | None:
    """Return a small call with its answer: what one element of it is made of is ringed."""
    chain = chain_example(topic.operator)
    if chain is not None:
        return _worked_chain(*chain)
    one = example(*topic)
    if one is None:
        return None
    rings = _rings(one)
    options = [f"{n}={one.call[n]}" for n in one.names if not isinstance(one.call[n], np.ndarray)]
    figures = [
        Figure(n, f"{[*a.shape]}", maps(a, n, Marks(rings[n])))
        for n, a in _arrays(one.call, one.names).items()
    ]
    name = symbol(one.formula)
    about = f"{[*one.answer.shape]}, the answer"
    answer = Figure(name, about, maps(one.answer, name, Marks(_at(one) if one.terms else None)))
    geometry = geometry_of(topic.operator, topic.formula, one.call, one.answer.shape)
    windows = None
    if geometry is not None:
        image = one.answer if geometry.kind == "pixel" else one.call.get(geometry.image)
        rank = len(geometry.axes)
        plane = image[(0,) * (image.ndim - rank)] if isinstance(image, np.ndarray) else None
        windows = picture(geometry, one.place, plane)
    return Worked([*figures, answer], ", ".join(options), one.sentence, windows)


def _worked_chain(call: Call, links: list[Example]) -> Worked:
    """Return what a network is given, and every answer on the way through it and back."""
    names = [name for name in call if name not in ("steps", "nodes")]
    figures = [Figure(n, f"{[*a.shape]}", maps(a, n)) for n, a in _arrays(call, names).items()]
    options = [f"steps: {', '.join(steps_of(call))}"]
    options += [f"{n}={call[n]}" for n in ("reduction", "learning_rate") if n in call]
    return Worked(figures, "; ".join(options), "", None, [_answered(link) for link in links])


def _answered(link: Example) -> Answered:
    name = symbol(link.formula)
    marks = Marks(_at(link) if link.terms else None)
    figure = Figure(name, f"{[*link.answer.shape]}", maps(link.answer, name, marks))
    return Answered(link.formula.__name__, figure, link.sentence)


def _arrays(call: Mapping[str, Any], names: list[str]) -> dict[str, Array]:
    return {n: call[n] for n in names if isinstance(call[n], np.ndarray)}


def _rings(one: Example) -> dict[str, Array]:
    rings = {n: np.zeros(a.shape, bool) for n, a in _arrays(one.call, one.names).items()}
    for factor in (each for term in one.terms for each in term.factors):
        if factor.name in rings:
            rings[factor.name][factor.place] = True
    return rings


def _at(one: Example) -> Array:
    mask = np.zeros(one.answer.shape, bool)
    mask[one.place] = True
    return mask


# -- errata ---------------------------------------------------------------------------------------


def _printed(erratum: Erratum) -> Printed:
    """Return an erratum with its smallest call and both answers."""
    printed, right = erratum.shown()
    given = {n: _numbers(v) for n, v in erratum.arguments().items()}
    figures = [
        Figure(n, f"{[*a.shape]}", maps(a, n)) for n, a in given.items() if a is not None and a.size
    ]
    answers = _both(_numbers(printed), _numbers(right))
    return Printed(erratum, counterexample(erratum), figures, answers)


def _both(printed: Array | None, right: Array | None) -> list[Figure]:
    """Return both answers, where they are arrays of one shape; else their text says it."""
    if printed is None or right is None or printed.shape != right.shape or not right.size:
        return []
    wrong, most = Marks(wrong=printed != right), largest(printed, right)
    return [
        Figure(title, f"{[*one.shape]}", maps(one, title, wrong, most=most))
        for title, one in (("as printed", printed), ("right", right))
    ]


def _numbers(value: Any) -> Array | None:
    """Return an array of fractions as floats; None: it is no array."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "Ofiu":
        return None
    return np.asarray(value, np.float64)


# -- functions of one number ----------------------------------------------------------------------


def _curve(topic: Topic) -> str:
    """Return the graph of a function of one number and of its derivative, as the oracle has them.

    "": the formula is no such function, nor the gradient of one.
    """
    operator = topic.operator
    if not _is_pointwise(operator) or len(operator.gradients) != 1:
        return ""
    (gradient,) = operator.gradients
    name = argument_names(operator.formula)[0][0]
    given = example(operator, operator.formula)
    if given is None or [n for n in given.names if is_data(given.call[n])] != [name]:
        return ""
    z = np.linspace(-ENDS, ENDS, POINTS)
    call = {**given.call, name: z, "grad_output": np.ones(POINTS)}
    series = {one.__name__: evaluate(one, call) for one in (operator.formula, gradient)}
    return charts.curves(z, series, f"{' and '.join(series)} of {name}")


def _is_pointwise(operator: Operator) -> bool:
    kind = algebra(operator.formula)
    return isinstance(kind, (Composed, Selection)) and kind.pointwise
