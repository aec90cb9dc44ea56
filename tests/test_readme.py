"""What README.md shows is what there is."""

import re
from pathlib import Path

from gradoracle.conformance.backends.contract import POLICIES
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.runs.certify import checks

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def sample():
    """Return the certificate that README.md shows."""
    return README.partition("The certificate of <code>im2col</code>")[2].partition("</details>")[0]


def test_the_certificate_is_whole():
    text = sample()
    assert "CERTIFIED (33 of 33 formulas, float16, bfloat16, float32 and float64)" in text
    table, _, legend = text.partition("calls judged")[2].partition("\n\n")
    rows = [line.split()[0] for line in table.splitlines()[1:]]
    assert rows == list(dict.fromkeys(formula.__name__ for _, formula, _ in checks()))
    columns = dict.fromkeys(property_.name for _, _, property_ in checks())
    assert re.findall(r"\d+ ([a-z]\w+)", legend.partition("\n\n")[0]) == [*columns]
    assert all(f"{name} " in legend for name in POLICIES)
    assert legend.rstrip("`\n").endswith("examples a check")


def test_every_property_and_policy_is_explained():
    for name in PROPERTIES:
        assert f"\n| `{name}` |" in README
    for policy in POLICIES:
        assert re.search(rf"\n\| [^|]*`{policy}`[^|]*\|", README)
