"""A certificate as an in-toto Statement: what was checked, by hash, and the verdict, to be signed.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from gradoracle.conformance.reports.certificate import Certificate

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:gradoracle:attestation:1"


def statement(text: bytes, content: Mapping[str, Any], told: Certificate) -> dict[str, Any]:
    """Return the statement of a certificate: its file's bytes, its content, and itself.

    The subjects are the files of the backend's code, by the certificate's names.

    Raises:
        ValueError: it names no file, or is of one shard only.
    """
    if told.shard:
        raise ValueError(f"it is of shard {told.shard} only: gradoracle merge joins the shards")
    if not told.files:
        raise ValueError("it names no file of the backend, so there is nothing to attest")
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest}} for name, digest in told.files.items()
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "backend": told.backend,
            "certified": told.passed,
            "verdict": told.in_full,
            "level": told.level,
            "certificate": {
                "digest": {"sha256": hashlib.sha256(text).hexdigest()},
                "content": {"sha256": content["sha256"]},
            },
            "suite": {"version": told.environment["gradoracle"], "digest": {"sha256": told.suite}},
            "seed": told.seed,
            "examples": told.examples,
        },
    }
