"""Reading JSON that others may have changed: strictly, and checked against a JSON Schema.

The part of JSON Schema (draft 2020-12) that the suite's own schemas use is evaluated here, so the
published schema of certificates is what certificates and journals are read by.  Stricter than
JSON Schema are three things: 1.0 is no integer, a number is finite and fits a float, and a text
can be written as UTF-8.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

TYPES = {
    "object": "an object", "array": "a list", "string": "a text", "integer": "an integer",
    "number": "a finite number", "boolean": "true or false", "null": "null",
}  # fmt: skip
LARGEST = 2**1024  # every float is below it
SHOWN = 60  # characters of a value in a message
NAMED = 6  # names listed in a message


class Malformed(ValueError):
    """A text is no JSON, or not what a schema wants; the message names the place and the remedy."""


def parsed(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        Malformed: it is none, is nested too deeply, names a field twice, or has a NaN.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
    except Malformed:
        raise
    except UnicodeDecodeError as error:
        raise Malformed(f"byte {error.start} is no UTF-8; want JSON in UTF-8") from error
    except RecursionError:
        raise Malformed("nested too deeply; want JSON with a few levels") from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise Malformed(f"{at}: no JSON ({error.msg})") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise Malformed(f"a number is too long ({error})") from error


def _no_number(word: str) -> NoReturn:
    raise Malformed(f"{word} is no JSON; want a finite number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"the field {_shown(twice)} is there twice; want each once")
    return found


def require(value: Any, schema: Schema, root: Schema | None = None) -> None:
    """Raise Malformed, naming the first wrong place, unless a value fits a schema.

    `root` is what references lead to, where it is not the schema itself.
    """
    if wrong := problem(value, schema, root):
        raise Malformed(wrong)


def problem(
    value: Any, schema: Schema, root: Schema | None = None, *, conditions: bool = True
) -> str:
    """Return the first place that does not fit a schema, with what would be valid, or "".

    Without `conditions` every field is looked at by itself, and no `if` is.
    """
    reading = _Reading(schema if root is None else root, conditions)
    try:
        return next(reading.problems(value, schema, ""), "")
    except RecursionError:
        return "nested too deeply; want a few levels"


class _Reading:
    def __init__(self, root: Schema, conditions: bool) -> None:  # noqa: FBT001
        self.root, self.conditions = root, conditions

    def problems(self, value: Any, schema: Schema, at: str) -> Iterator[str]:
        """Yield what does not fit; a wrong type is all that is said of a value."""
        schema = self._referred(schema)
        wrong = _wrong_value(value, schema)
        if wrong:
            yield f"{at or 'the whole'}: must be {wrong}, got {_shown(value)}"
            return
        if isinstance(value, dict):
            yield from self._fields(value, schema, at)
        elif isinstance(value, list):
            yield from self._items(value, schema, at)
        if "oneOf" in schema:
            yield from self._one_of(value, schema["oneOf"], at)
        if self.conditions:
            for one in (schema, *schema.get("allOf", ())):
                yield from self._condition(value, one, at)

    def fits(self, value: Any, schema: Schema) -> bool:
        """Return whether a value fits."""
        return next(self.problems(value, schema, ""), None) is None

    def _referred(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self.root["$defs"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _fields(self, value: dict[str, Any], schema: Schema, at: str) -> Iterator[str]:
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{_inner(at, name)}: is missing"
        for name, wanted in schema.get("dependentRequired", {}).items():
            for other in wanted if name in value else ():
                if other not in value:
                    yield f"{_inner(at, other)}: is missing beside {name}"
        for name, inner in value.items():
            yield from self._field(name, inner, schema, _inner(at, name))

    def _field(self, name: str, value: Any, schema: Schema, at: str) -> Iterator[str]:
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        if not _is_text(name):
            yield f"{at}: must be a name that UTF-8 can write"
        elif name in known:
            yield from self.problems(value, known[name], at)
        elif others is False:
            yield f"{at}: there is no such field; pick from {_listed(known)}"
        else:
            if "propertyNames" in schema:
                yield from self.problems(name, schema["propertyNames"], f"{at}, its name")
            yield from self.problems(value, others, at)

    def _items(self, value: list[Any], schema: Schema, at: str) -> Iterator[str]:
        first = schema.get("prefixItems", ())
        rest = schema.get("items", {})
        for number, inner in enumerate(value):
            where = f"{at}[{number}]"
            if number < len(first):
                yield from self.problems(inner, first[number], where)
            elif rest is False:
                yield f"{at}: must be a list of {len(first)}, got one of {len(value)}"
                return
            else:
                yield from self.problems(inner, rest, where)

    def _one_of(self, value: Any, choices: Sequence[Schema], at: str) -> Iterator[str]:
        if any(self.fits(value, choice) for choice in choices):
            return
        referred = [self._referred(choice) for choice in choices]
        of_type = [choice for choice in referred if _is_of(value, choice.get("type"))]
        if of_type:  # what is meant is what least is wrong with
            wrong = [[*self.problems(value, choice, at)] for choice in of_type]
            yield from min(wrong, key=len)
            return
        wanted = " or ".join(dict.fromkeys(map(_wanted, referred)))
        yield f"{at or 'the whole'}: must be {wanted}, got {_shown(value)}"

    def _condition(self, value: Any, schema: Schema, at: str) -> Iterator[str]:
        if "if" in schema:
            branch = "then" if self.fits(value, schema["if"]) else "else"
            yield from self.problems(value, schema.get(branch, {}), at)


def _wrong_value(value: Any, schema: Schema) -> str:
    """Return what would be valid, if a value by itself is not; else ""."""
    if isinstance(value, str) and not _is_text(value):
        return "a text that UTF-8 can write"
    if not _is_of(value, schema.get("type")):
        return _wanted(schema)
    if "const" in schema and not _same(value, schema["const"]):
        return _shown(schema["const"])
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return f"one of {', '.join(map(_shown, schema['enum']))}"
    return _out_of_range(value, schema)


def _out_of_range(value: Any, schema: Schema) -> str:
    """Return which limit of a schema a value breaks, as what would be valid; else ""."""
    for keyword, (of, breaks, words) in LIMITS.items():
        limit = schema.get(keyword)
        if limit is not None and of(value) and breaks(value, limit):
            return words.format(limit)
    return ""


def _is_of(value: Any, types: str | Sequence[str] | None) -> bool:
    if types is None:
        return not isinstance(value, float) or math.isfinite(value)
    return any(_IS[one](value) for one in ([types] if isinstance(types, str) else types))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < LARGEST


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return a schema's pattern; Python's $ would let a line break pass at the end."""
    return re.compile(re.sub(r"\$$", r"\\Z", text))


_IS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int and abs(value) < LARGEST,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


# Of each limit: what has it, when it is broken, and what would be valid.
LIMITS: dict[str, tuple[Callable[[Any], bool], Callable[[Any, Any], bool], str]] = {
    "minLength": (_IS["string"], lambda v, n: len(v) < n, "a text of {} letters or more"),
    "pattern": (_IS["string"], lambda v, p: not _pattern(p).search(v), "a text that matches {}"),
    "minItems": (_IS["array"], lambda v, n: len(v) < n, "a list of {} or more"),
    "maxItems": (_IS["array"], lambda v, n: len(v) > n, "a list of {} or fewer"),
    "minProperties": (_IS["object"], lambda v, n: len(v) < n, "an object of {} fields or more"),
    "minimum": (_is_number, lambda v, n: v < n, "at least {}"),
    "maximum": (_is_number, lambda v, n: v > n, "at most {}"),
    "exclusiveMinimum": (_is_number, lambda v, n: v <= n, "above {}"),
}


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _is_text(value: str) -> bool:
    """Return whether a text has no half of a surrogate pair by itself."""
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _wanted(schema: Schema) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(_shown, schema['enum']))}"
    types = schema.get("type", [])
    names = [TYPES[one] for one in ([types] if isinstance(types, str) else types)]
    return " or ".join(names) or "a finite number"


def _inner(at: str, name: str) -> str:
    if not re.fullmatch(r"\w{1,60}", name, re.ASCII):
        return f"{at}[{_shown(name)}]"
    return f"{at}.{name}" if at else name


def _shown(value: Any) -> str:
    """Return a value as JSON in a few characters, and an object or a list as what it is."""
    if isinstance(value, dict):
        return f"an object of {len(value)} fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if type(value) is int and abs(value) >= LARGEST:
        return f"an integer of {value.bit_length()} bits"
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _listed(names: Mapping[str, Any]) -> str:
    shown = [*names][:NAMED]
    return ", ".join(shown) + (", ..." if len(names) > NAMED else "")
