"""Certificates as JSON: reading what was stored, and what every field means."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gradoracle.conformance.reports.schema import Malformed, parsed, problem

SCHEMA = 8  # of the JSON; raised when a field comes, goes or changes, but for mere notes
SCHEMA_FILE = Path(__file__).with_name("certificate.schema.json")  # says what every field means


@cache
def scheme() -> dict[str, Any]:
    """Return the JSON Schema of certificates."""
    read: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return read


def content_of(text: str | bytes) -> dict[str, Any]:
    """Return a certificate's JSON as plain data, every field of the kind that the schema wants.

    Whether the fields agree with each other is not looked at: `gradoracle verify` does.

    Raises:
        Malformed: it is none, or it was changed since; the message names the place.
    """
    content = parsed(text)
    if not isinstance(content, dict) or "schema" not in content:
        raise Malformed("not a certificate of gradoracle: want an object with the field schema")
    if content["schema"] != SCHEMA:
        version = content["schema"] if isinstance(content["schema"], int) else "another kind"
        raise Malformed(f"a certificate of schema {version}; this gradoracle reads {SCHEMA}")
    wrong = problem(content, scheme(), conditions=False)
    rest = {name: value for name, value in content.items() if name != "sha256"}
    if wrong:
        raise Malformed(f"not a certificate of gradoracle: {wrong}")
    if content["sha256"] != digest(rest):
        raise Malformed("it was changed after it was written: its SHA-256 does not fit")
    return content


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a certificate's content, whatever its layout."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
