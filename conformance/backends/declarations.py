"""Lines that declare a convention or a domain, as a backend's own contract has them.

A file of CUDA, C or C++ says it in a comment, Python in `contract`.
"""

from __future__ import annotations

import json
from typing import Any

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.registry import LOADERS, PYTHON

IN_COMMENTS = {*LOADERS.values()} - {PYTHON}  # what makes backends of files with comments


def has_comments(backend: Backend) -> bool:
    """Return whether a backend is a file whose contract is in comments."""
    return backend.path.partition("!")[0] in IN_COMMENTS


def of_policy(backend: Backend, policy: str, rule: Any) -> str:
    """Return the line that claims a policy, or two of which either does."""
    words = f"{policy} = {f'{rule:g}' if isinstance(rule, float) else rule}"
    if has_comments(backend):
        return f"// gradoracle: contract {words}"
    of_policies = f'{{"policies": {{"{policy}": {json.dumps(rule)}}}}}'
    return f'contract = {of_policies} or --policy "{words}"'


def of_fixed_option(backend: Backend, function: str, text: str) -> str:
    """Return what says that an option which a function does not take has one value."""
    if has_comments(backend):
        return of_domain(backend, function, text)
    return f'--domain "{function}: {text}"'


def of_domain(backend: Backend, function: str, text: str) -> str:
    """Return the line that declares a domain, or two of which either does."""
    if has_comments(backend):
        return f"// gradoracle: domain {function}: {text}"
    return f'contract["domain"] = {{"{function}": "{text}"}} or --domain "{function}: {text}"'
