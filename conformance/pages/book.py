"""All formulas as pages with an index: a small book of backpropagation, made of the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.pages import render
from gradoracle.conformance.pages.formula_page import Link, formula_page
from gradoracle.conformance.pages.live import live
from gradoracle.conformance.reports.explain import Topic, role, summary, topics
from gradoracle.oracle.declaration import displayed

INDEX = "index.html"


class Entry(NamedTuple):
    """A formula in the index."""

    file: str
    name: str
    role: str
    equation: str
    summary: str
    live: bool


def book() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every file of the book, the index first.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    known = topics()
    chapters = [(o.name, [_entry(known[f.__name__]) for f in o.formulas]) for o in OPERATORS]
    yield INDEX, render.page("index.html", chapters=chapters, count=len(known))
    names = [*known]
    links = [Link(f"{name}.html", name) for name in names]
    for at, name in enumerate(names):
        before = links[at - 1] if at else None
        after = links[at + 1] if at + 1 < len(links) else None
        yield (
            f"{name}.html",
            formula_page(known[name], back=Link(INDEX, "All formulas"), before=before, after=after),
        )


def _entry(topic: Topic) -> Entry:
    name = topic.formula.__name__
    return Entry(
        f"{name}.html", name, role(topic), displayed(topic.formula)[0], summary(topic.formula),
        live(topic) is not None,
    )  # fmt: skip
