"""A wrong answer, as an exception: what was asked, what came, what is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.shapes import Array

NUMBERS, RAISED = "wrong numbers", "raised "
# How a headline goes on behind what it is about, and the kind of fault that it is.
KINDS = {
    "got shape": "shape", "got dtype": "dtype",
    "its from_numpy raised": "from_numpy", "to_numpy does not read": "to_numpy",
    "its result cannot be read": "unreadable", "returned ": "no array",
    "did not return": "no return", "took more than": "memory",
    **dict.fromkeys(("crashed", "started more", "ended ", "closed ", "its process"), "crash"),
    "changed its argument": "changed argument", "its result shares": "shared memory",
    "its own losses move": "slope",
    "an earlier result changed": "changed result", "took ": "illegal call taken",
}  # fmt: skip
ENDED = ("no return", "memory", "crash")  # the worker is started again: that takes its time
# Faults that no wrong answer to a legal call brings about.
MANNERS = ("changed argument", "shared memory", "changed result", "illegal call taken")


@dataclass
class Answer:
    """What a backend returned for one call of one formula; kept so that a report can show it."""

    formula: Formula
    call: Call
    value: Array | None  # None: it raised instead


class Mismatch(AssertionError):
    """A backend breaks a property on one call.

    `headline` names the function, the first wrong element, got and want.  `call` is the one that
    shows it, where that is not the call being checked (an illegal neighbour of it); its arrays lie
    in memory as `layout` says.  `shown` is what else a script needs, where the call alone does not
    show it: another call, an array that is written into, a mask.
    """

    def __init__(
        self, headline: str, call: Call | None = None, layout: str = "",
        shown: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Remember the sentence, the call, the layout and what else is shown."""
        super().__init__(headline)
        self.headline, self.call, self.layout = headline, call, layout
        self.shown = shown or {}

    @property
    def kind(self) -> str:
        """What is wrong, in a word or two: NUMBERS, or how there were none to compare."""
        said = self.headline.partition(": ")[2]
        if said.startswith(RAISED):
            return said.split(":")[0].split(" on a legal call")[0]  # with the exception's type
        return next((kind for words, kind in KINDS.items() if said.startswith(words)), NUMBERS)


@contextmanager
def showing(shown: Mapping[str, Any]) -> Iterator[None]:
    """Have every Mismatch that is raised within show more than the call."""
    try:
        yield
    except Mismatch as mismatch:
        mismatch.shown = {**shown, **mismatch.shown}
        raise


class WrongElement(Mismatch):
    """An element of an answer too large to be printed: where it is, what is right, how nearly."""

    def __init__(self, headline: str, at: tuple[int, ...], want: float, allowed: float) -> None:
        """Remember the sentence and the element; it may be off by `allowed`."""
        super().__init__(headline)
        self.at, self.want, self.allowed = at, want, allowed


class Ended(Mismatch):
    """A call that ended the backend's process, or that had to be ended at a limit.

    `function` is the one that was called; `over` the limit: time, memory or processes, or "" where
    the process ended by itself.
    """

    def __init__(
        self, headline: str, function: str, over: str = "", call: Call | None = None
    ) -> None:
        """Remember the sentence, the function, the limit and the call."""
        super().__init__(headline, call)
        self.function, self.over = function, over


class Declined(Exception):
    """A backend does not do this call, and says so: NotImplementedError, or no memory for it."""

    def __init__(self, text: str = "", *, no_memory: bool = False, alone: bool = False) -> None:
        """Remember what it said, whether it had no memory, or left out a result that it may."""
        super().__init__(text)
        self.no_memory, self.alone = no_memory, alone


class Outside(Declined):
    """A call is outside the domain that the backend's function is made for: it is not asked."""
