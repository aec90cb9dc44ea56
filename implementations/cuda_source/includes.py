"""A file of CUDA C++ and what it includes of its neighbours, as one text.

Compilers of CUDA remember what they compiled by its text; what a header beside it says must be in
that text, or a changed header would be checked as it was.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from gradoracle.implementations.hostcuda.build import COMMON_HEADERS

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">\n]+)[">].*$', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once\b.*$", re.MULTILINE)


def whole(file: Path, folders: Sequence[Path] = ()) -> str:
    """Return the text of a file with its neighbours' in place of the lines that include them.

    Compilers name each line's own file and number.  What is neither beside a file nor in `folders`
    is left to the compiler.
    """
    return _expanded(file.resolve(), (), set(), folders)


def _expanded(
    file: Path, within: tuple[Path, ...], once: set[Path], folders: Sequence[Path]
) -> str:
    text = file.read_text(encoding="utf-8", errors="replace")
    if _ONCE.search(text):
        once.add(file)
        text = _ONCE.sub("", text)

    def put(found: re.Match[str]) -> str:
        beside = () if "<" in found[0] else (file.parent,)
        there = () if found[1] in COMMON_HEADERS and not beside else folders  # the system's own
        places = [(folder / found[1]).resolve() for folder in (*beside, *there)]
        other = next((place for place in places if place.is_file()), None)
        if other is None:
            return found[0]
        after = text.count("\n", 0, found.start()) + 2
        known = other in once or other in (*within, file)
        body = "" if known else _expanded(other, (*within, file), once, folders)
        return f'{body}\n#line {after} "{file.name}"'

    return f'#line 1 "{file.name}"\n{_INCLUDE.sub(put, text)}'
