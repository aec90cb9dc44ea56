"""What a screen can show: its width, colours, and text that is wrapped by words."""

from __future__ import annotations

import os
import shlex
import shutil
import textwrap
from dataclasses import dataclass
from typing import IO

NARROWEST, WIDEST = 30, 120  # columns of a text
STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
LEAST = " " * 5  # before a word of a command that fits no line below the others
GOES_ON = " \\"  # at the end of a line of a command
BLOCK, LIGHT = "█", "░"


@dataclass(frozen=True)
class Look:
    """How wide a text may be in columns, and whether it is in colour."""

    width: int = 80
    colour: bool = False
    encoding: str = "utf-8"

    def paint(self, text: str, *styles: str) -> str:
        """Return the text in some of `STYLES`, where it is in colour."""
        codes = ";".join(str(STYLES[one]) for one in styles)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.colour and codes and text else text

    def wrapped(self, text: str, *styles: str, first: str = "", rest: str = "  ") -> list[str]:
        """Return the text as lines, wrapped by words; `first` and `rest` are their beginnings.

        A word that is wider than a line is left as it is, so that it can be copied.
        """
        lines = textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=rest,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        return [self.paint(line, *styles) for line in lines]

    def command(self, text: str, first: str, rest: str) -> list[str]:
        """Return a shell command as lines that can be copied together: they end in backslashes.

        A call of Python goes on within its brackets.
        """
        if text.endswith(")") and text.partition("(")[0].replace(".", "").isidentifier():
            return self.wrapped(text, first=first, rest=rest)
        lines, line = [], first
        begun = " ".join(text.split(" ")[:2])  # such as gradoracle certify
        if first.rstrip() and len(f"{first}{begun}{GOES_ON}") > self.width:
            lines, line = self.wrapped(first.rstrip(), rest=rest), rest
        for number, part in enumerate(_parts(text)):
            longer = f"{line}{' ' * bool(number)}{part}"
            if number and len(longer) + len(GOES_ON) > self.width:
                lines.append(f"{line}{GOES_ON}")
                too_wide = len(rest) + len(part) + len(GOES_ON) > self.width
                longer = f"{rest[: len(LEAST)] if too_wide else rest}{part}"
            line = longer
        return [*lines, line]

    def bar(self, share: float, width: int) -> str:
        """Return a bar of this width, filled to a share from 0 to 1: above 0 at least one cell."""
        filled = min(width, max(round(share * width), share > 0))
        block, light = (BLOCK, LIGHT) if self._can(BLOCK + LIGHT) else ("#", ".")
        return block * filled + light * (width - filled)

    def readable(self, line: str) -> str:
        """Return a line as the stream can show it."""
        return line.encode(self.encoding, "replace").decode(self.encoding)

    def _can(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True


def look_of(stream: IO[str]) -> Look:
    """Return the look of a stream: as wide as the terminal, or as COLUMNS says; 80 in a pipe."""
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    return Look(width, in_colour(stream), getattr(stream, "encoding", None) or "utf-8")


def fitted(text: str, stream: IO[str], more: str) -> str:
    """Return a text wrapped by words if the stream is a terminal, and as it is in a pipe.

    Lines that go on begin as the line before, and `more`.
    """
    if not stream.isatty():
        return text
    look, lines = look_of(stream), list[str]()
    for line in text.split("\n"):
        plain = line.lstrip()
        begun = line[: len(line) - len(plain)]
        lines += look.wrapped(plain, first=begun, rest=begun + more) or [""]
    return "\n".join(lines)


def in_colour(stream: IO[str]) -> bool:
    """Return whether text is painted there, by the variables that pytest reads."""
    if (told := os.environ.get("PY_COLORS")) in ("0", "1"):
        return told == "1"
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or changes(stream)


def changes(stream: IO[str]) -> bool:
    """Return whether lines that were written there can be written again: a terminal, not dumb."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _parts(command: str) -> list[str]:
    """Return the words of a command, an option together with its value."""
    parts: list[str] = []
    for word in map(shlex.quote, shlex.split(command)):
        if parts and parts[-1].startswith("-") and " " not in parts[-1] and word[0] != "-":
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    return parts
