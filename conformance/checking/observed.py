"""What is observed where nothing is claimed: whether the same call gives the same bits again."""

from __future__ import annotations

from collections.abc import Sequence

from gradoracle.conformance.backends.mismatch import Declined, Ended, Mismatch
from gradoracle.conformance.checking.call_list import own_seed
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.operators.record import Geometry
from gradoracle.conformance.properties import NotJudged
from gradoracle.conformance.properties.state import Differs

CALLS = 8  # that are repeated


def repeated(exam: Examination) -> list[int]:
    """Return how many calls gave other bits when they were repeated, and how many were repeated.

    Calls that are declined or raise count in neither: the other checks are about those.
    """
    from gradoracle.conformance.checking.strategies import draw  # noqa: PLC0415 - Hypothesis is slow

    differ: list[bool] = []
    styles = exam.operator.styles.of(exam.property.kind)
    dtypes = exam.judged_dtypes()

    def use(geometries: Sequence[Geometry]) -> None:
        for one in geometries:
            style, dtype = styles[one.seed % len(styles)], dtypes[len(differ) % len(dtypes)]
            sizes = exam.operator.inside(one.sizes)
            if sizes is not None:
                differ.extend(_differs(exam, exam.operator.call(sizes, style, one.seed, dtype)))

    try:
        draw(exam.operator, exam.property.size, CALLS, own_seed(exam), use)
    except Ended:
        pass
    finally:
        exam.backend.answers.clear()
    return [sum(differ), len(differ)]


def _differs(exam: Examination, call: dict[str, object]) -> list[bool]:
    """Return whether a call gave other bits, as a list; an empty one where it gave no answer.

    Raises:
        Ended: the call ended the backend's process.
    """
    try:
        exam.property.check(exam.backend, exam.operator, exam.formula, call)
    except Differs:
        return [True]
    except Ended:
        raise
    except (Declined, NotJudged, Mismatch):
        return []
    return [False]
