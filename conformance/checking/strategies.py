"""What Hypothesis draws: a few bytes a geometry, spread to a row of `conformance.drawing.choices`.

Its engine takes bytes one by one, and what it does beside drawing takes as long as checking a small
call: so few bytes are drawn, and several geometries at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import shake_128

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded

from gradoracle.conformance.drawing.choices import ROW, Choices
from gradoracle.conformance.operators.record import Geometry, Operator, Size

AT_A_TIME = 32  # geometries that are drawn
TOGETHER = 8  # of them, that are used
DRAWN = 8  # bytes of each


class _Enough(BaseException):
    """Ends a run of Hypothesis, which would repeat whatever raises anything else."""


def draw(
    operator: Operator, size: Size, count: int, seed: int, use: Callable[[list[Geometry]], object]
) -> None:
    """Give `count` geometries to `use`, first the simplest one, alone.

    Then they come in groups as large as all before them together, since most wrong answers show
    soon, up to `TOGETHER`.

    Raises:
        Exception: what `use` raises, at once and without asking it again.
    """
    left, raised = count, list[Exception]()

    @seeded(seed)
    @settings(
        max_examples=count,  # each gives one at least
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate,),  # what fails is made small by conformance.checking.shrinking
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    @given(_geometries(operator, size, min(count, AT_A_TIME)))
    def each(drawn: Sequence[Geometry]) -> None:
        nonlocal left
        ahead = [*drawn[:left]]
        try:
            while ahead:
                some = min(TOGETHER, max(1, count - left))
                left -= len(ahead[:some])
                use(ahead[:some])
                del ahead[:some]
        except Exception as error:  # noqa: BLE001 - raised again below
            raised.append(error)
        if raised or not left:
            raise _Enough

    with suppress(_Enough):
        each()
    if raised:
        raise raised[0]


def _geometries(
    operator: Operator, size: Size, count: int
) -> st.SearchStrategy[Sequence[Geometry]]:
    """Return the strategy of so many geometries, or fewer where some are the same."""

    def read(drawn: bytes) -> list[Geometry]:
        apart = dict.fromkeys(drawn[at : at + DRAWN] for at in range(0, len(drawn), DRAWN))
        return [operator.geometry(Choices(_row(one)), size) for one in apart]

    return st.binary(min_size=count * DRAWN, max_size=count * DRAWN).map(read)


def _row(drawn: bytes) -> bytes:
    """Return a row that is uniform where the drawn bytes are; of zeros, the simplest one."""
    return shake_128(drawn).digest(ROW) if any(drawn) else bytes(ROW)
