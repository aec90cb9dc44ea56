"""Everything that is known of a formula, for `gradoracle explain`."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import Parameter, getdoc, signature
from types import CodeType, FunctionType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from gradoracle.conformance.misconceptions import MISCONCEPTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.domain import names_of
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import PROPERTIES, Property
from gradoracle.conformance.reports.worked_chain import chain_example, steps_of
from gradoracle.conformance.reports.worked_example import Example, example, symbol
from gradoracle.conformance.reports.worked_example import written as in_digits
from gradoracle.oracle.chains.graph import graph_backward
from gradoracle.oracle.declaration import (
    Call,
    Chained,
    Composed,
    Formula,
    Multilinear,
    Selection,
    algebra,
    axes_of,
    displayed,
    output_of,
)
from gradoracle.oracle.derive import body_of, composed_of
from gradoracle.oracle.document_forms.forms import FORMS
from gradoracle.oracle.errata import Erratum, errata_of
from gradoracle.oracle.expected.transform_bounds import is_transformable
from gradoracle.oracle.numbers.high_precision import BITS

INDENT = 2
WIDE = 100  # columns from which a name and its sentence share a line
WITH_SUMS = 80  # and from which the example of a chain has its sums
NARROW = 60  # and from which a name and its numbers do
ORACLE = "gradoracle.oracle."
# Modules that carry the formulas and are none themselves.
LONGEST_HEAD = 56  # letters of a line that begins a function
LONGEST = 27  # letters of a name that others are lined up with
CARRIERS = (
    "gradoracle.oracle.numbers.elementary",
    "gradoracle.oracle.numbers.functions",
    "gradoracle.oracle.numbers.reverse",
    "gradoracle.oracle.declaration",
    "gradoracle.oracle.shapes",
    "gradoracle.oracle.compiled_loops",
)


class UnknownFormula(LookupError):
    """No formula has this name; `args` are the name and those that are close."""

    def __str__(self) -> str:
        """Say what was asked for, and what may have been meant."""
        name, close = self.args
        meant = f" Did you mean {' or '.join(close)}?" if close else ""
        return f"There is no formula {name!r}.{meant} `gradoracle explain` lists them all."


class Topic(NamedTuple):
    """A formula and the operator that it belongs to."""

    operator: Operator
    formula: Formula


def topics() -> dict[str, Topic]:
    """Return every formula by its name."""
    return {f.__name__: Topic(operator, f) for operator in OPERATORS for f in operator.formulas}


def find(name: str) -> Topic:
    """Return the formula of this name, or an operator's forward pass.

    Raises:
        UnknownFormula: there is none.
    """
    known = topics()
    known |= {o.name: Topic(o, o.formula) for o in OPERATORS if o.name not in known}
    plain = (
        name.strip().lower().replace("-", "_").removeprefix("gradoracle.").removeprefix("oracle.")
    )
    if plain not in known:
        raise UnknownFormula(name, difflib.get_close_matches(plain, known, n=3, cutoff=0.5))
    return known[plain]


# -- what is told ---------------------------------------------------------------------------------


def call_of(formula: Formula, name: str = "") -> str:
    """Return the formula's name and arguments, as they are written in a call."""
    bare = [
        p.replace(annotation=Parameter.empty, default=p.default if p.default is None else p.empty)
        for p in signature(formula).parameters.values()
    ]
    shape = signature(formula).replace(parameters=bare, return_annotation=Parameter.empty)
    return f"{name or formula.__name__}{shape}"


def role(topic: Topic) -> str:
    """Return what the formula is to its operator."""
    operator, formula = topic
    argument = operator.argument_of(formula)
    if formula is operator.vjp:
        return f"all gradients of {operator.name} at once"
    if argument is not None:
        return f"the gradient of {operator.name} by {argument}"
    place = output_of(formula).place
    if place is None:
        if formula is graph_backward:
            return "the gradients of a graph"
        return (
            f"the forward pass of {operator.name}" if operator.gradients else "a step of training"
        )
    return f"result {place + 1} of {operator.name}"


def summary(formula: Formula) -> str:
    """Return what the docstring says before the equation."""
    return " ".join(_plain((getdoc(formula) or "").split("\n\n")[0]).split())


def remarks(formula: Formula) -> str:
    """Return what the docstring says below the equation, its source and its errata left out."""
    text = " ".join((getdoc(formula) or "").split("\n\n    ")[1].split("\n\n", 1)[1].split())
    text = text.split("Raises: ")[0].split("Erratum: ")[0]
    source = f"({displayed(formula)[1]})"
    return _plain(text.replace(" ".join(source.split()), "", 1)).lstrip(". ").strip()


def raises(formula: Formula) -> str:
    """Return what the docstring says of illegal arguments."""
    below = (getdoc(formula) or "").split("Raises:\n")
    return " ".join(_plain(below[1]).split()) if len(below) > 1 else ""


EXACT = """Exact integers: where the numbers are such that no sum in any order can round, the
    answer must be equal, bit for bit."""
BOUNDED = """Rounding bound elsewhere: the error of a sum of n terms is at most gamma_n sum|terms|,
    gamma_n = n u / (1 - n u), u the unit roundoff of the accumulator (Higham 2002, section 3.1); n
    and sum|terms| come from these loops, fed ones and absolute values."""
DIVIDED = """It divides: the truth is an exact fraction; a divisor that is no power of two costs one
    rounding more."""
TRANSFORMED = """Where the contract's algorithm is winograd2 or another but direct: never exact, and
    bounded by norms of the planes that are transformed (oracle.expected.transform_bounds)."""
SELECTED = "Exact: every element must be equal, a NaN a NaN; nothing is ever rounded."
ESTIMATED = f"""Running error bound: the truth has {BITS} bits (mpmath), and the loops themselves,
    fed numbers that carry their error, say how far rounding may reach (Higham 2002, section 3.3;
    each operation as accurate as OpenCL 3.0 demands)."""
CHAINED = """Running error bound: every answer may be off by its own bound, and the next formula
    passes on what it was given (oracle.chains.propagation)."""


def judged(formula: Formula) -> list[str]:
    """Return in words what the formula is made of and how an answer is checked."""
    kind = algebra(formula)
    if isinstance(kind, Multilinear):
        plus = (
            f", {'subtracted from' if kind.minus else 'added to'} {kind.plus}" if kind.plus else ""
        )
        made = f"Multilinear: a sum of products, linear in {' and in '.join(kind.factors)}{plus}."
        sentences = [made, EXACT, BOUNDED, *([DIVIDED] if kind.over else [])]
        if is_transformable(formula):
            sentences.append(TRANSFORMED)
    elif isinstance(kind, Selection):
        what = "a place in the plane" if kind.places else "one of the data, or 0"
        sentences = [f"Selection: every element is {what}, and nothing is computed.", SELECTED]
    elif isinstance(kind, Composed):
        made = "Composed of sums, products, quotients and elementary functions."
        sentences = [made, ESTIMATED]
    else:
        sentences = ["Chained: other formulas' answers, one after another.", CHAINED]
    told = {"kept": "One result per image.", "summed": "Summed over the images."}
    return [*(" ".join(sentence.split()) for sentence in sentences), told.get(kind.images, "")]


def loops(formula: Formula) -> list[str]:
    """Return the source of the functions that the formula's numbers go through.

    Of one that is derived, those of the forward pass.
    """
    body = body_of(formula)
    if body is not None and (parts := composed_of(body)):
        return list(dict.fromkeys(piece for part in parts for piece in loops(part)))
    if body is not None:
        found = sorted(_reached(body, {body}), key=_order)
        return [_undecorated(_source(one)) for one in (body, *found)]
    asked = {t.formula for t in topics().values()}  # by a chain, and explained on their own
    seen = asked if isinstance(algebra(formula), Chained) else {formula}
    found = sorted(_reached(formula, seen), key=_order)
    pieces = [_source(function) for function in found]
    if any(isinstance(c, CodeType) for c in formula.__code__.co_consts) or not any(
        f.__name__ != "_loop" for f in found
    ):
        head = f"def {call_of(formula)}:"
        if (
            inspect.unwrap(formula).__code__.co_flags & inspect.CO_VARARGS
        ):  # its body names them all
            head = _undecorated(_source(formula)).partition(":\n")[0] + ":"
        if len(head) > LONGEST_HEAD:
            head = "\n".join(textwrap.wrap(head, LONGEST_HEAD, subsequent_indent=" " * 8))
        pieces.insert(0, f"{head}\n{textwrap.indent(_body(formula), '    ')}")
    return pieces


def _reached(function: Any, seen: set[Any]) -> Iterator[FunctionType]:
    """Yield the oracle's own functions that `function` names, but not those that only carry."""
    for name in _names(function.__code__):
        other = inspect.unwrap(function.__globals__.get(name))
        module = str(getattr(other, "__module__", ""))
        if not isinstance(other, FunctionType) or other in seen or "check" in name:
            continue
        ours = module.startswith(ORACLE) or module == function.__module__
        if not ours or module in CARRIERS:
            continue
        seen.add(other)
        if "run" not in other.__code__.co_names:
            yield other
        yield from _reached(other, seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _order(function: FunctionType) -> tuple[bool, str, int]:
    """Order functions by their module, as they stand there, the general loop last."""
    return (
        function.__name__ == "_loop", function.__module__, function.__code__.co_firstlineno
    )  # fmt: skip


def _source(function: Any) -> str:
    """Return a function's source without what only linters read."""
    return re.sub(
        r"  # (?:noqa|fmt:|type:).*|@lru_cache.*\n",
        "",
        textwrap.dedent(inspect.getsource(function)),
    ).rstrip()


def _undecorated(source: str) -> str:
    """Return the source of a function without decorators and docstring."""
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)  # noqa: S101 - for the type checker
    lines = source.splitlines()
    first, *_ = definition.body
    documented = ast.get_docstring(definition) is not None
    head = lines[definition.lineno - 1 : first.lineno - 1]
    return "\n".join([*head, *lines[(first.end_lineno or 0) if documented else first.lineno - 1 :]])


def _body(function: Any) -> str:
    """Return a function's statements below its docstring."""
    source = _source(function)
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)  # noqa: S101 - for the type checker
    told = ast.get_docstring(definition) is not None
    lines = source.splitlines()[definition.body[int(told)].lineno - 1 :]
    return textwrap.dedent("\n".join(lines))


def misconceptions(formula: Formula) -> list[str]:
    """Return the sentences of the misconceptions that may explain a wrong answer."""
    return [m.sentence for m in MISCONCEPTIONS if formula.__name__ in m.functions]


def properties(topic: Topic) -> list[Property]:
    """Return the properties that check the formula."""
    return [p for p in PROPERTIES.values() if topic.formula in p.formulas(topic.operator)]


def counterexample(erratum: Erratum) -> list[tuple[str, str]]:
    """Return the smallest call, and what the printed formula and the right one give on it."""
    axes = axes_of(erratum.formula)
    arguments = [
        f"{name}={written(value)}"
        for name, value in erratum.arguments().items()
        if not (name in axes.neutral and value == axes.neutral_of(name, value))
        and not (name == "bias" and not np.any(value))
    ]
    printed, right = erratum.shown()
    gives = f"no value: {printed}" if isinstance(printed, Exception) else written(printed)
    return [("call", ", ".join(arguments)), ("gives", gives), ("want", written(right))]


def written(value: Any) -> str:
    """Return an array, a shape or a number as short text; fractions as quotients."""
    if isinstance(value, tuple):
        return f"({', '.join(map(written, value))})"
    array = np.asarray(value)
    if not array.size:
        return f"nothing, of shape {[*array.shape]}"
    if array.ndim:
        return f"[{', '.join(written(one) for one in array)}]"
    return f"{array.item():g}" if isinstance(array.item(), float) else str(array.item())


def _plain(text: str) -> str:
    return text.replace("`", "")


# -- how it is shown ------------------------------------------------------------------------------


class Page:
    """Lines on a console: none is longer than it is wide but code, and none ends in spaces."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.is_wide = console.width >= WIDE

    def line(self, *parts: tuple[str, str]) -> None:
        """Print (text, style) parts on a line, with a ? for what the output cannot encode."""
        encoding = self.console.encoding
        safe = [(text.encode(encoding, "replace").decode(encoding), style) for text, style in parts]
        self.console.print(Text.assemble(*safe), soft_wrap=True)

    def heading(self, title: str) -> None:
        """Print a section's title."""
        self.line()
        self.line((title, "bold cyan"))

    def text(self, text: str, indent: int = INDENT, *, more: int = 0, style: str = "") -> None:
        """Print a paragraph, or a line of it after another; `more` indents those that continue."""
        width = max(self.console.width, 2 * indent)
        for line in textwrap.wrap(
            text.strip(), width, initial_indent=" " * indent,
            subsequent_indent=" " * (indent + more), break_on_hyphens=False,
        ):  # fmt: skip
            self.line((line, style))

    def row(self, name: str, text: str, indent: int, width: int) -> None:
        """Print a name, and in a column beside it what belongs to it."""
        room = max(20, self.console.width - indent - width)
        lines = textwrap.wrap(text, room, break_on_hyphens=False)
        for n, line in enumerate(lines):
            label = f"{' ' * indent}{'' if n else name:<{width}}"
            self.line((label, "dim"), (line, ""))

    def section(self, title: str, paragraphs: Iterable[str], *, more: int = 0) -> None:
        """Print paragraphs under a title, or nothing if there are none."""
        shown = [paragraph for paragraph in paragraphs if paragraph]
        if shown:
            self.heading(title)
        for paragraph in shown:
            self.text(paragraph, more=more)

    def bullets(self, title: str, sentences: Iterable[str]) -> None:
        """Print a list under a title."""
        self.section(title, (f"- {sentence}" for sentence in sentences), more=2)

    def pairs(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Print names and what belongs to them: side by side, or where that is narrow below."""
        if rows:
            self.heading(title)
        longest = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            if self.is_wide:
                self.row(name, text, INDENT, longest + 2)
            else:
                self.text(name)
                self.text(text, 2 * INDENT, style="dim")

    def equation(self, equation: str) -> None:
        """Print an equation, its long lines continued further to the right."""
        for line in equation.splitlines():
            self.text(line, INDENT + len(line) - len(line.lstrip()), more=4)

    def code(self, code: str) -> None:
        """Print Python, where it is too wide with narrower indentation, and wrapped by words."""
        room = self.console.width - INDENT
        if max(map(len, code.splitlines())) > room:
            code = re.sub(r"^ +", lambda m: " " * (len(m[0]) // 2), code, flags=re.MULTILINE)
            code = "\n".join(_folded(line, room) for line in code.splitlines())
        syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
        encoding = self.console.encoding
        safe = code.encode(encoding, "replace").decode(encoding)
        text = syntax.highlight(textwrap.indent(safe, " " * INDENT))
        self.console.print(text, soft_wrap=True, end="")


def _also(topic: Topic, names: Sequence[str]) -> str:
    """Return how sections are seen that were left out."""
    return f"gradoracle explain {topic.formula.__name__} --all has also: {', '.join(names)}"


def _folded(line: str, room: int) -> str:
    """Return a line of Python as lines that fit, those that follow further to the right."""
    begun = line[: len(line) - len(line.lstrip())]
    lines = textwrap.wrap(
        line.strip(), max(room, 2 * len(begun)), initial_indent=begun,
        subsequent_indent=f"{begun}    ", break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(lines)


def show(console: Console, topic: Topic, *, everything: bool = True) -> None:
    """Print what is known of a formula: all of it, or what fits a screen or two.

    Then sections that would make it longer than `SCREEN` lines are named, and not printed.
    """
    title = Text.assemble((topic.formula.__name__, "bold"), (f"  {role(topic)}", "dim"))
    console.print(Rule(title, align="left", style="dim"))
    page = Page(console)
    brief = not everything and console.width < WITH_SUMS
    every = [*sections(topic, brief=brief)]
    with console.capture() as captured:  # where nearly all is left out
        page.text(_also(topic, [name for name, _ in every]))
    left, room = [], SCREEN - 2 - captured.get().count("\n")
    for name, section in every:
        with console.capture() as captured:
            section(page)
        text = captured.get()
        lines = text.count("\n")
        if not lines:
            continue
        if not everything and lines > room:
            left.append(name)
            continue
        room -= lines
        console.file.write(text)
    if left:
        page.line()
        page.text(_also(topic, left), style="dim")


SCREEN = 60  # lines that are printed
Section: TypeAlias = tuple[str, Callable[["Page"], None]]


def sections(topic: Topic, *, brief: bool = False) -> Iterator[Section]:
    """Yield everything that is known of a formula, the most helpful first, and what it is.

    `brief` leaves the sums out of the example of a chain, which has many answers.
    """
    formula = topic.formula
    equation, source = displayed(formula)
    yield "example", lambda page: _example(page, topic, brief=brief)

    def formula_itself(page: Page) -> None:
        page.section("signature", [signature_of(topic)], more=4)
        page.heading("formula")
        page.equation(equation)

    yield "formula", formula_itself
    yield "source", lambda page: page.section("source", [_plain(source)])
    told = [summary(formula), remarks(formula), raises(formula)]
    yield "meaning", lambda page: page.section("meaning", told)
    first, *rest = loops(formula)
    yield "loops", lambda page: _loops(page, first)
    yield "what the loops call", lambda page: _code(page, rest)
    yield "domain", lambda page: page.section("domain", _domain(topic))
    yield "how it is checked", lambda page: page.section("how it is checked", judged(formula))
    forms = [(form.name, form.source) for form in FORMS.get(formula, ())]
    yield "other forms", lambda page: page.pairs("other forms", forms)
    yield "errata", lambda page: _errata(page, formula)
    wrong = misconceptions(formula)
    yield "misconceptions", lambda page: page.bullets("what may be misunderstood", wrong)
    checks = [(p.name, p.sentence) for p in properties(topic)]
    yield "properties", lambda page: page.pairs("properties that check it", checks)
    yield "certify", lambda page: page.section("certify", _hint(topic))
    yield "see also", lambda page: _see_also(page, topic)


def _example(page: Page, topic: Topic, *, brief: bool) -> None:
    """Print a small call, its answer, and an element of it in numbers; of a chain, every link."""
    chain = chain_example(topic.operator)
    if chain is not None:
        _chain(page, *chain, brief=brief)
        return
    one = example(*topic)
    if one is None:
        return
    given = [(n, one.call[n]) for n in one.names]
    page.heading("example")
    _rows(page, [*_told(given), ("gives", _rounded(one.answer))])
    _spelled(page, one)


def _chain(page: Page, call: Call, links: list[Example], *, brief: bool) -> None:
    """Print what a network is given, and each answer on the way through it and back."""
    given = [(n, v) for n, v in call.items() if v is not None and n not in ("steps", "nodes")]
    page.heading("example")
    _rows(page, [("steps", ", ".join(steps_of(call))), *_told(given)])
    known = set[str]()
    for link in links:
        answer = f"{symbol(link.formula)} = {_rounded(link.answer)}"
        page.text(f"{link.formula.__name__}: {answer}", more=4)
        first, *steps = link.sentence.split(" = ")
        is_new = not brief and link.formula.__name__ not in known
        if steps and is_new:  # in numbers: its own page has the names
            page.text(" = ".join((first, *steps[-2:])), 2 * INDENT, more=4)
        known.add(link.formula.__name__)


def _told(given: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Return the arrays that a call is given, a row each, and its options in one."""
    rows = [(n, _rounded(v)) for n, v in given if isinstance(v, np.ndarray)]
    options = ", ".join(f"{n}={v}" for n, v in given if not isinstance(v, np.ndarray))
    return [*rows, *([("options", options)] if options else [])]


def _rows(page: Page, rows: list[tuple[str, str]]) -> None:
    longest = max(len(name) for name, _ in rows)
    for name, text in rows:
        if page.console.width >= NARROW:
            page.row(name, text, INDENT, longest + 2)
        else:
            page.text(name, style="dim")
            page.text(text, 2 * INDENT)


def _spelled(page: Page, one: Example) -> None:
    """Print the element with most terms: names, then numbers."""
    first, *steps = one.sentence.split(" = ")
    for n, step in enumerate(steps):
        page.text(f"{'' if n else first} = {step}", INDENT if n == 0 else 2 * INDENT, more=4)


def _rounded(array: Any) -> str:
    if array.ndim:
        return f"[{', '.join(_rounded(one) for one in array)}]"
    return in_digits(array)


def _loops(page: Page, code: str) -> None:
    page.heading("loops")
    page.code(code)


def _code(page: Page, pieces: list[str]) -> None:
    for piece in pieces:
        page.line()
        page.code(piece)


def _see_also(page: Page, topic: Topic) -> None:
    operator, formula = topic
    forwards = (operator.formula, *operator.also)
    if operator.also and formula in forwards:
        names = [f.__name__ for f in forwards if f is not formula]
        page.section("see also", [f"gradoracle explain {name}" for name in names])


def _domain(topic: Topic) -> list[str]:
    """Return what the conditions of a domain can be about, and which letter is which axis."""
    operator, formula = topic
    if isinstance(algebra(formula), Chained):
        return []
    names = ", ".join(names_of(operator.formulas))
    arrays = [f"{n} [{', '.join(of)}]" for n, of in operator.axes.arrays.items() if of]
    return [f"Conditions on {names}; axes: {', '.join(arrays)}."]


def show_all(console: Console) -> None:
    """Print every formula, by operator, on a line: cut short where a terminal is narrow."""
    page, longest = Page(console), min(LONGEST, max(map(len, topics())))
    for operator in OPERATORS:
        page.line((operator.name, "bold"))
        for formula in operator.formulas:
            name = f"{formula.__name__:<{longest}}"
            told = summary(formula).removeprefix("Return ")
            if console.is_terminal:
                told = textwrap.shorten(
                    told, max(8, console.width - INDENT - len(name) - 2), placeholder=" ..."
                )
            page.line((" " * INDENT, ""), (name, "cyan"), (f"  {told}", ""))
    page.line()
    page.line(("gradoracle explain FORMULA tells everything about one of them.", ""))


def signature_of(topic: Topic) -> str:
    """Return the call that gives the formula's answer."""
    function, place = output_of(topic.formula)
    return call_of(topic.formula, function) + ("" if place is None else f"[{place}]")


def _hint(topic: Topic) -> list[str]:
    name, function = topic.formula.__name__, output_of(topic.formula).function
    where = f"the import path of a module that has {function}, such as mypkg.kernels"
    return [
        f"pytest --pyargs gradoracle.conformance --backend NAME -k NAME-{name}-",
        f"NAME is a registered backend or {where}.",
    ]


def _errata(page: Page, formula: Formula) -> None:
    errata = sorted(errata_of(formula), key=lambda erratum: erratum.formula is not formula)
    if errata:
        page.heading("where the documents go wrong")
    for n, erratum in enumerate(errata):
        if n:
            page.line()
        own = erratum.formula is formula
        page.text(f"{erratum.kind}: {erratum.name}", style="bold")
        rows = [("where", erratum.where), ("printed", erratum.printed), ("right", erratum.right)]
        rows += counterexample(erratum) if own else [("see", erratum.formula.__name__)]
        for name, text in rows:
            page.row(name, text, 2 * INDENT, len("printed") + 2)
