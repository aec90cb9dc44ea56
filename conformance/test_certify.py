"""pytest conformance --backend NAME: one test per formula and property, named after both.

pytest conformance --backend mypkg.kernels -k "grad_weight and matches_oracle"
"""

import pytest

from conformance.certificate import Outcome


def test_certify(examined: Outcome) -> None:
    if examined.status in ("not claimed", "not run"):
        pytest.skip(examined.reason)
    if examined.status != "passed":
        found = examined.mismatch
        text = getattr(found, "text", "") or examined.reason
        pytest.fail(text, pytrace=False)
