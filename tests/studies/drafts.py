"""Write drafts of reports for the libraries: `python -m tests.studies.drafts [SCRIPT...]`.

Each is made of a script in `faults`, of what it prints here, and of the versions that are
installed.  Nothing is sent.
"""

from __future__ import annotations

import ast
import platform
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

from tests.studies.libraries import HERE

FAULTS, UPSTREAM = HERE / "faults", HERE / "upstream"
IMPORTED = re.compile(r"^\s*(?:import|from) (\w+)", re.MULTILINE)
PATIENCE = 600  # seconds that a script may take
DRAFT = """# {title}

{more}Versions: {versions}.

```python
{script}```

It prints what the library gives after `got`, and what is right after `right`:

```
{output}
```
"""


def main() -> None:
    """Write the drafts of the scripts that are named, by default of all."""
    known = {path.stem: path for path in sorted(FAULTS.glob("*.py"))}
    unknown = [name for name in sys.argv[1:] if name not in known]
    if unknown:
        sys.exit(f"no script {unknown[0]!r} in {FAULTS}; there are {', '.join(known)}")
    UPSTREAM.mkdir(exist_ok=True)
    for name in sys.argv[1:] or known:
        text = draft(known[name])
        (UPSTREAM / f"{name}.md").write_text(text)
        print(name, flush=True)


def draft(path: Path) -> str:
    """Return the draft of a script: its docstring, its text and what it prints here."""
    script = path.read_text()
    title, more = said(script)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", path], capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{path.name} failed:\n{done.stderr.strip()}")
    return DRAFT.format(
        title=title, more=more, versions=", ".join(versions(script)), script=script,
        output=done.stdout.strip(),
    )  # fmt: skip


def said(script: str) -> tuple[str, str]:
    """Return a title, the first line of a script's docstring, and the rest as a paragraph."""
    title, _, more = (ast.get_docstring(ast.parse(script)) or "").partition("\n")
    return title.removesuffix("."), f"{more.strip()}\n\n" if more.strip() else ""


def versions(script: str) -> list[str]:
    """Return the distributions that a script imports with their versions, Python and system."""
    owners = packages_distributions()
    named = dict.fromkeys(
        owner for module in IMPORTED.findall(script) for owner in owners.get(module, ())
    )
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return [*(f"{name.replace('_', '-')} {version(name)}" for name in named), system]


if __name__ == "__main__":
    main()
