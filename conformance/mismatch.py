"""A wrong answer, as an exception: what was asked, what came, what is right."""

from __future__ import annotations

from dataclasses import dataclass

from oracle.formula import Call, Formula
from oracle.geometry import Array


@dataclass
class Answer:
    """What a backend returned for one call of one formula; kept so that a report can show it."""

    formula: Formula
    call: Call
    value: Array | None  # None: it raised instead


class Mismatch(AssertionError):
    """A backend breaks a property on one call.

    `headline` names the function, the first wrong element, got and want.  `call` is the one that
    shows it, where that is not the call being judged (an illegal neighbour of it); its arrays lie
    in memory as `layout` says.
    """

    def __init__(self, headline: str, call: Call | None = None, layout: str = "") -> None:
        """Remember the sentence, the call and the layout."""
        super().__init__(headline)
        self.headline, self.call, self.layout = headline, call, layout


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
    """A backend raised NotImplementedError: it does not do this call, and says so."""
