"""The suite as a library call, for programs: no pytest, same verdicts."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import math
import secrets
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import reduce
from numbers import Integral
from typing import Any

from gradoracle.conformance.backends.backend import (
    BACKWARD,
    DOUBLE_BACKWARD,
    JVP,
    SOURCE_TEXT,
    Backend,
)
from gradoracle.conformance.backends.caller import describe, one_line
from gradoracle.conformance.backends.contract import OF_FUNCTION, Contract
from gradoracle.conformance.backends.errors import OURS, CouldNotRunError, UsageError
from gradoracle.conformance.backends.interrupts import heeded
from gradoracle.conformance.backends.isolation.audit import MOST
from gradoracle.conformance.backends.registry import ISOLATED, Confinement
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.checking.causes import folded
from gradoracle.conformance.checking.check_run import can_be, examine, unclaimed
from gradoracle.conformance.checking.checks import checks, checks_of
from gradoracle.conformance.drawing.profiles import FIRST_LOOK, PROFILES
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.own_formulas import formula_error
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.registered import MADE
from gradoracle.conformance.properties import Property
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.runs.deviations import reviewed
from gradoracle.conformance.runs.environment import environment
from gradoracle.conformance.runs.fingerprint import files_of, suite
from gradoracle.conformance.runs.garbage import seldom_collected
from gradoracle.conformance.runs.loading import wrap
from gradoracle.conformance.runs.places import places
from gradoracle.oracle.declaration import Formula, output_of

OBJECT = "an import path, a module or an object with functions of the protocol such as relu"
NO_TORCH = "PyTorch is not installed: pip install 'gradoracle[torch]'"


def checked(
    backend: Any,
    *,
    operators: Sequence[str | Operator] | None = None,
    examples: int | None = None,
    seed: int | None = None,
    stop_at_first_mismatch: bool = False,
    at_scale: bool = False,
    progress: Callable[[Outcome], None] | None = None,
    confinement: Confinement | None = None,
    dtypes: Sequence[str] | None = None,
    profile: str | None = None,
    time_limit: float | None = None,
    text: str = "",
) -> Certificate:
    """Check a backend and return its certificate: see `gradoracle.check`.

    `text` is that of the backend's module, where a program gave it.
    """
    _require_kinds(
        backend, {"operators": operators, "dtypes": dtypes}, examples=examples, seed=seed
    )
    examples = _examples(examples, profile)
    seed = fresh_seed() if seed is None else int(seed)
    chosen = operators_named(operators)
    with formula_errors(chosen):
        wrapped = wrap(backend, confinement=_limited(confinement or ISOLATED, time_limit))
    if text:
        wrapped.name, wrapped.origin, wrapped.text = SOURCE_TEXT, "this program", text
    try:
        limit(wrapped, dtypes)
        wrapped.finds_domains = not stop_at_first_mismatch
        return _certified(
            wrapped,
            chosen,
            examples,
            seed,
            progress,
            stop=stop_at_first_mismatch,
            at_scale=at_scale,
        )
    finally:
        if wrapped is not backend:
            wrapped.asked.close()


def _examples(examples: int | None, profile: str | None) -> int:
    """Return the geometries of a check, from their number or from a profile."""
    if profile is not None and examples is not None:
        raise UsageError(f"give profile={profile!r} or examples={examples}, not both")
    if examples is None:
        name = "certify" if profile is None else profile
        if name not in PROFILES:
            raise UsageError(f"no profile {name!r}; there are {', '.join(PROFILES)}")
        return PROFILES[name]
    if examples < 1:
        raise UsageError(f"examples must be at least 1, got {examples}")
    return int(examples)


def _limited(confinement: Confinement, time_limit: float | None) -> Confinement:
    """Return the same with another limit of a call's time, in seconds."""
    if time_limit is None:
        return confinement
    if isinstance(time_limit, bool) or not isinstance(time_limit, int | float):
        raise TypeError(f"time_limit must be a number of seconds, got {describe(time_limit)}")
    if not 0 < time_limit < math.inf:
        raise UsageError(f"time_limit must be above 0 and finite, got {time_limit:g}")
    limits = confinement.limits
    first = max(float(time_limit), limits.first)
    return replace(confinement, limits=replace(limits, call=float(time_limit), first=first))


def limit(backend: Backend, dtypes: Sequence[str] | None) -> None:
    """Have only some of a backend's dtypes checked.

    Raises:
        UsageError: one that it does not claim.
    """
    claimed = backend.contract.dtypes
    for dtype in dtypes or ():
        if dtype not in claimed:
            raise UsageError(
                f"{backend.name} does not claim dtype {dtype!r}; it claims {', '.join(claimed)}"
            )
    if dtypes:
        backend.contract = replace(backend.contract, dtypes=tuple(dict.fromkeys(dtypes)))


def _require_kinds(backend: Any, names: Mapping[str, Any], **numbers: Any) -> None:
    """Raise TypeError, with what would be valid, for arguments of another kind."""
    if backend is None or isinstance(backend, (Mapping, list, tuple, set, int, float, bytes)):
        hint = ""
        if isinstance(backend, Mapping):
            hint = "; make an object of it: types.SimpleNamespace(**functions)"
        raise TypeError(f"a backend is a name, {OBJECT}, got {describe(backend)}{hint}")
    if inspect.isroutine(backend):
        name = getattr(backend, "__name__", "relu")
        raise TypeError(
            f"a backend is a name, {OBJECT}, got the function {name}; give an object that has it: "
            f"types.SimpleNamespace({name}={name})"
        )
    for name, value in names.items():
        if isinstance(value, str) or not isinstance(value, Iterable | None):
            like = "relu" if name == "operators" else "float32"
            raise TypeError(
                f"{name} must be a list of names such as ['{like}'], got {describe(value)}"
            )
    for name, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise TypeError(f"{name} must be an integer or None, got {describe(value)}")


def _certified(
    judged: Backend, chosen: Sequence[Operator], examples: int, seed: int,
    progress: Callable[[Outcome], None] | None, *, stop: bool, at_scale: bool,
) -> Certificate:  # fmt: skip
    rounds = [examples]
    if stop and examples > FIRST_LOOK:
        rounds.insert(0, FIRST_LOOK)
    outcomes: list[Outcome] = []
    for count in rounds:
        outcomes = []
        judged.stops.clear()
        judged.causes.clear()
        for case in checks(chosen):
            outcomes.append(run_check(judged, *case, examples=count, seed=seed, at_scale=at_scale))
            done = stop and outcomes[-1].status == "mismatch"
            if progress is not None and (done or count == examples):
                progress(outcomes[-1])
            if done:
                outcomes += not_claimed(judged, chosen, outcomes)
                stopped = certificate(judged, outcomes, seed, count, chosen, at_scale=at_scale)
                return replace(
                    stopped, stale=[], unmet=[]
                )  # a short look says nothing of what holds
    return certificate(judged, outcomes, seed, examples, chosen, at_scale=at_scale)


def not_claimed(
    backend: Backend, chosen: Sequence[Operator], outcomes: Sequence[Outcome],
    among: Collection[tuple[str, str]] | None = None,
) -> list[Outcome]:  # fmt: skip
    """Return the outcomes of checks that a run which stopped has left, and never would have made.

    `among` are the names of formula and property of the run's checks, if it is of some only.
    """
    done = {(o.formula, o.property_name) for o in outcomes}
    named = {(case[1].__name__, case[2].name): case for case in checks(chosen)}
    left = (c for check, c in named.items() if check not in done and check in (among or named))
    return [end for case in left if (end := unclaimed(backend, *case)) is not None]


def run_check(
    backend: Backend,
    operator: Operator,
    formula: Formula,
    property_: Property,
    *,
    examples: int,
    seed: int,
    at_scale: bool = False,
) -> Outcome:
    """Run one check, or say why it cannot be run here."""
    unasked = unclaimed(backend, operator, formula, property_)
    if unasked is not None:
        return unasked
    absent = _why_no_torch() if property_.needs_torch else ""
    if absent:
        name = formula.__name__
        return Outcome(backend.name, name, property_.name, status="not run", reason=absent)
    with undisturbed():
        try:
            with formula_errors([operator]):
                outcome = examine(
                    backend, operator, formula, property_, examples=examples, seed=seed,
                    at_scale=at_scale,
                )  # fmt: skip
        except CouldNotRunError:
            raise
        except Exception as error:
            error.add_note(f"while it checked {formula.__name__} {property_.name}: {OURS}")
            raise
    outcome.changed = dict(backend.asked.changed)
    backend.stops.note(outcome)
    return outcome


@contextmanager
def formula_errors(operators: Sequence[Operator]) -> Iterator[None]:
    """Within it, report an exception of a formula that a user wrote.

    Raises:
        CouldNotRunError: one of them raised an exception, with its line.
    """
    try:
        yield
    except CouldNotRunError:
        raise
    except Exception as error:
        if message := formula_error(error, (*operators, *OPERATORS)):
            raise CouldNotRunError(message) from error
        raise


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it, calls are made as checks make them: one thread, no warnings, little collected."""
    with heeded(), one_thread(), seldom_collected(), warnings.catch_warnings():
        # A warning is neither a refusal nor a fault, whatever the session makes of warnings.
        warnings.simplefilter("ignore")
        yield


def credible(backend: Backend, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return those outcomes of an earlier run that can be true of this backend, as far as is cheap.

    The others are not used: their checks are run again.
    """
    known = checks_of(outcome.formula for outcome in outcomes)
    found = []
    for outcome in outcomes:
        case = known[outcome.formula, outcome.property_name]
        asked = case[2].needs_torch and unclaimed(backend, *case) is None
        absent = _why_no_torch() if asked else ""
        if (outcome.status == "not run") == bool(absent) and (
            outcome.reason == absent if absent else can_be(backend, *case, outcome)
        ):
            found.append(outcome)
    return found


def _why_no_torch() -> str:
    """Return why PyTorch cannot be asked, or "" if it can."""
    if importlib.util.find_spec("torch") is None:
        return NO_TORCH
    try:
        importlib.import_module("torch")
    except Exception as error:  # noqa: BLE001 - a broken installation may raise anything
        return f"PyTorch cannot be imported: {one_line(error)}"
    return ""


def _said(contract: Contract) -> dict[str, Any]:
    """Return what a contract says, without what it need not say."""
    said = asdict(contract)
    return said if contract.assumes else {n: v for n, v in said.items() if n != "assumes"}


def certificate(
    backend: Backend,
    outcomes: list[Outcome],
    seed: int,
    examples: int,
    operators: Sequence[Operator] = OPERATORS,
    *,
    at_scale: bool = False,
    shard: str = "",
) -> Certificate:
    """Return the certificate of a backend's outcomes; those of a shard are folded when merged."""
    outcomes = outcomes if shard else folded(outcomes)
    with one_thread():
        circumstances = environment()
        review = reviewed(backend, outcomes)
    return Certificate(
        backend=backend.name,
        origin=backend.origin,
        contract={
            **_said(backend.contract),
            "has": [*backend.functions],
            "inside": inside(backend),
        },
        seed=seed,
        examples=examples,
        environment=circumstances,
        outcomes=outcomes,
        expected=[[f.__name__, p.name] for _, f, p in checks(operators)],
        stale=review.stale,
        unmet=review.unmet,
        confinement=reduce(kept_in_both, backend.kept_elsewhere, backend.asked.kept()),
        files=files_of(backend.path) if backend.path else {},
        suite=suite(),
        at_scale=at_scale,
        shard=shard,
        places=places(backend.asked.description.places),
    )


def inside(backend: Backend) -> dict[str, str]:
    """Return what each function is made for, in words, where that is not everything."""
    found = {}
    for operator in OPERATORS:
        for formula in operator.formulas:
            if not backend.has(formula) or not (words := backend.domain_words(formula)):
                continue
            layers = sum(not one.change for one in operator.variants())
            kept = backend.inside(operator, [formula]).variants()
            covered = sum(not one.change for one in kept)
            usual = f" ({covered} of {layers} usual layers)" if layers else ""
            found[output_of(formula).function] = f"{words}{usual}"
    return found


def kept_in_both(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a backend was kept in two processes or more, and what it did in all of them."""
    kept = {**now, **was}
    if "limits" in was and "limits" in now:
        kept["modules"] = dict(sorted({**now["modules"], **was["modules"]}.items()))
        kept["refused"] = sorted({*was["refused"], *now["refused"]})
        acts = {**was["acts"], **now["acts"]}
        kept["acts"] = {
            act: sorted({*was["acts"].get(act, ()), *now["acts"].get(act, ())})[: MOST + 1]
            for act in acts
        }
    return kept


def fresh_seed() -> int:
    """Return a seed that nobody can foresee; it is printed, so that a run can be repeated."""
    return secrets.randbits(32)


def operators_named(names: Sequence[str | Operator] | None) -> tuple[Operator, ...]:
    """Return the operators of these names, or all; those of this program, by name or as records.

    Raises:
        UsageError: one that does not exist, or none.
    """
    if names is None:
        return (*OPERATORS,)
    if not names:
        raise UsageError(f"operators names none; there are {_every_name()}")
    return tuple(dict.fromkeys(map(_operator_named, names)))


def _operator_named(given: str | Operator) -> Operator:
    """Return an operator by its name; one that this program has made is added to the others."""
    known = {operator.name: operator for operator in OPERATORS if operator not in OPERATORS.own}
    own = MADE.get(given) if isinstance(given, str) and given not in known else given
    if isinstance(own, Operator):
        try:
            OPERATORS.add(own)
        except ValueError as error:
            raise UsageError(f"operator {own.name}: {error}; give it another name") from error
        return own
    if not isinstance(given, str):
        raise TypeError(f"operators must be names or records of operators, got {describe(given)}")
    known |= {operator.name: operator for operator in OPERATORS.own}
    if given in known:
        return known[given]
    if home := _home_of(given):
        raise UsageError(
            f"{given} is a function of the operator {home!r}: name that, and all of its functions "
            "that the backend has are checked"
        )
    near = difflib.get_close_matches(given, known, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    raise UsageError(
        f"no operator {given!r}{guess}; there are {_every_name()} (more with --operators-from)"
    )


def _home_of(function: str) -> str:
    """Return the name of the operator that a function or a formula is of, or ""."""
    homes = {f.__name__: operator.name for operator in OPERATORS for f in operator.formulas}
    homes |= {name: operator.name for name, operator in OF_FUNCTION.items()}
    further = (function.removesuffix(one) for one in (DOUBLE_BACKWARD, BACKWARD, JVP))
    return next((homes[name] for name in (function, *further) if name in homes), "")


def _every_name() -> str:
    return ", ".join(operator.name for operator in OPERATORS)
