"""Templates filled in: every page is one file with its styles and scripts, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

NO_JINJA = "Jinja2 is not installed: pip install 'gradoracle[html]'"
TEMPLATES = Path(__file__).with_name("templates")


@cache
def environment() -> Any:
    """Return Jinja's environment, which escapes whatever is put into a page.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    try:
        jinja: Any = import_module("jinja2")  # optional
    except ImportError as error:
        raise ImportError(NO_JINJA) from error
    return jinja.Environment(
        loader=jinja.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def page(template: str, *scripts: str, **values: Any) -> str:
    """Return a page of a template; `scripts` are files that it runs beside page.js.

    No other script runs in it, whatever the values are: the page's policy names its hash.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    script = "".join(_text(name) for name in ("page.js", *scripts))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shared = {"style": _text("style.css"), "script": script, "script_hash": digest}
    text: str = environment().get_template(template).render(**shared, **values)
    return text


def data(value: Any) -> str:
    """Return JSON that may stand in a page: no letter of it ends the element it is in."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
