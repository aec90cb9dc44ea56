"""Mutants of im2col that compute the same, and why: nobody can tell them apart by its answers.

`equivalent.json` lists them below the reason, as `python -m tests.power.mutants` prints them.
"""

import json
from pathlib import Path

REASONS: dict[str, list[str]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)
EQUIVALENT = {key: reason for reason, keys in REASONS.items() for key in keys}
