"""pytest conformance --backend NAME: one test per formula and property, named after both.

pytest conformance --backend mypkg.kernels -k "grad_weight and matches_oracle"
"""

from typing import Any

import pytest

from gradoracle.conformance.reports.certificate import Outcome
from gradoracle.conformance.runs.deviations import reviewed


def test_certify(check: tuple[Any, ...], examined: Outcome, request: pytest.FixtureRequest) -> None:
    if examined.status in ("not claimed", "not run"):
        pytest.skip(examined.reason)
    if examined.status == "deviation":
        pytest.xfail(f"known deviation: {examined.deviation}: {examined.reason}")
    if examined.status != "passed":
        verbose = request.config.get_verbosity() > 0
        pytest.fail(examined.text if verbose else examined.headline, pytrace=False)
    for sentence in reviewed(check[0], [examined]).stale:
        pytest.fail(sentence, pytrace=False)
