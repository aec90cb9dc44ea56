"""Certificates from files, and their text on a terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from gradoracle.conformance import DOMAIN, POLICIES
from gradoracle.conformance.cli.messages import complain


def certificate_in(file: Path) -> Any:
    """Return the certificate in a file; what is none is an exit code."""
    return content_and_certificate(file)[1]


def content_and_certificate(file: Path) -> tuple[Any, Any]:
    """Return a certificate as plain data and as itself; what is none is an exit code."""
    from gradoracle.conformance.reports.certificate import Certificate  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.reports.certificate_json import content_of  # noqa: PLC0415 - --help stays quick

    try:
        content = content_of(file.read_bytes())
    except OSError as error:
        complain(f"{file}: {error.strerror}")
        raise typer.Exit(2) from error
    except ValueError as error:
        complain(f"{file}: {error}")
        raise typer.Exit(2) from error
    return content, Certificate.of_content(content)


def claim_as_the_run(told: Any) -> None:
    """Let backends that are loaded from here on have the domain and policies of a run."""
    os.environ[DOMAIN] = told.environment.get("restricted to", "")
    os.environ[POLICIES] = told.environment.get("policies of the run", "")


def unpainted(text: str) -> str:
    """Return lines without what moves a cursor or paints."""
    from gradoracle.conformance.backends.caller import printable  # noqa: PLC0415 - --help stays quick

    return "\n".join(map(printable, text.split("\n")))
