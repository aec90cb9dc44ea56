"""A file of CUDA C++ and what it includes of its neighbours, as one text.

Compilers of CUDA remember what they compiled by its text; what a header beside it says must be in
that text, or a changed header would be checked as it was.
"""

import re
from pathlib import Path

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)".*$', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once\b.*$", re.MULTILINE)


def whole(file: Path) -> str:
    """Return the text of a file with its neighbours' in place of the lines that include them.

    Compilers name each line's own file and number.  What is included otherwise (`<...>`, or a file
    that is not there) is left to the compiler.
    """
    return _expanded(file.resolve(), (), set())


def _expanded(file: Path, within: tuple[Path, ...], once: set[Path]) -> str:
    text = file.read_text(encoding="utf-8")
    if _ONCE.search(text):
        once.add(file)
        text = _ONCE.sub("", text)

    def put(found: re.Match[str]) -> str:
        other = (file.parent / found[1]).resolve()
        if not other.is_file():
            return found[0]
        after = text.count("\n", 0, found.start()) + 2
        known = other in once or other in (*within, file)
        body = "" if known else _expanded(other, (*within, file), once)
        return f'{body}\n#line {after} "{file.name}"'

    return f'#line 1 "{file.name}"\n{_INCLUDE.sub(put, text)}'
