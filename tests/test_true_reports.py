"""Every counterexample is true: right for the oracle, wrong for the fault, and so is its script.

A fault of every kind is planted for every property and operator.  Scripts run in this process, the
backend in the place where they name it.
"""

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking import finding as finding_module
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.reports.matrix import OFFERED
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import Chained, algebra, output_of

pytestmark = pytest.mark.slow

ORACLE = {name: getattr(oracle, name) for name in FUNCTIONS}
CASES = {}
for _operator, _formula, _property in checks():
    if _property.name in OFFERED:  # of what the contract here does not claim
        continue
    if not _operator.name.endswith("1d"):  # their code is that of 2 and 3 axes
        CASES.setdefault((_property.name, _operator.name), (_operator, _formula, _property))


def both(results, change):
    """Change a result, or each of several."""
    return tuple(map(change, results)) if isinstance(results, tuple) else change(results)


def numbers(right):
    def wrong(*arrays, **options):
        def change(y):
            return (y + 1 + np.arange(y.size).reshape(y.shape)).astype(y.dtype)

        return both(right(*arrays, **options), change)

    return wrong


def changes_its_argument(right):
    def wrong(*arrays, **options):
        result = right(*arrays, **options)
        arrays[0][...] += 1
        return result

    return wrong


def other_dtype(right):
    return lambda *arrays, **options: both(
        right(*arrays, **options), lambda y: y.astype(np.float16 if y.dtype.kind == "f" else "i2")
    )


def takes_anything(right):
    def wrong(*arrays, **options):
        try:
            return right(*arrays, **options)
        except ValueError:
            return both((arrays[0], arrays[0]), np.zeros_like) if right is oracle.max_pool2d else (
                np.zeros_like(arrays[0])
            )  # fmt: skip

    return wrong


def reads_memory_in_order(right):
    def wrong(*arrays, **options):
        given = [a if a is None else a.ravel("K").reshape(a.shape) for a in arrays]
        try:
            return right(*given, **options)
        except ValueError:  # indices that are none
            return both(right(*arrays, **options), np.zeros_like)

    return wrong


def remembers_shapes(right):
    kept = {}

    def wrong(*arrays, **options):
        fresh = right(*arrays, **options)
        key = (
            *(getattr(a, "shape", a) for a in arrays),
            arrays[0].dtype,
            *map(str, options.items()),
        )
        return both(kept.setdefault(key, fresh), np.copy)

    return wrong


def every_third(right):
    count = [0]

    def wrong(*arrays, **options):
        count[0] += 1
        result = right(*arrays, **options)
        return (
            result
            if count[0] % 3
            else both(result, lambda y: np.nextafter(y, np.inf) if y.dtype.kind == "f" else y + 1)
        )

    return wrong


def drops_what_is_not_finite(right):
    return lambda *arrays, **options: both(
        right(*arrays, **options), lambda y: np.nan_to_num(y, nan=0, posinf=0, neginf=0)
    )


def flushes(right):
    def flushed(array):
        if array is None or array.dtype.kind != "f":
            return array
        return np.where(abs(array) < np.finfo(array.dtype).tiny, array.dtype.type(0), array)

    return lambda *arrays, **options: both(right(*map(flushed, arrays), **options), flushed)


WRONG = {
    "leaves_inputs_unchanged": changes_its_argument,
    "returns_what_the_protocol_says": other_dtype,
    "rejects_bad_arguments": takes_anything,
    "ignores_memory_layout": reads_memory_in_order,
    "is_stateless": remembers_shapes,
    "is_deterministic": every_third,
    "propagates_non_finite": drops_what_is_not_finite,
    "keeps_subnormals": flushes,
}
CONTRACT = {
    "policies": {"repeats": "bitwise", "subnormals": "kept", "bad_arguments": "raise"},
}


def planted(operator, formula, property_):
    """The oracle's functions that a check may call, one of them wrong; of a chain, all."""
    change = WRONG.get(property_.name, numbers)
    if isinstance(algebra(formula), Chained):
        return {**ORACLE, "linear": change(oracle.linear)}
    called = (*operator.formulas, *property_.needs(operator))
    own = {name: ORACLE[name] for name in (output_of(one).function for one in called)}
    function = output_of(formula).function
    return {**own, function: change(ORACLE[function])}


def run(script, functions):
    """Run a script with these functions for the backend it names; return why it fails, or None."""
    backend = SimpleNamespace(**functions)
    source = script.replace("backend = ...  #", "#", 1)
    assert source != script, script
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            exec(compile(source, "script", "exec"), {"backend": backend})  # noqa: S102
    except Exception as error:  # noqa: BLE001 - whatever the backend raises
        return error
    return None


@pytest.fixture
def quick(monkeypatch):
    """Look for no wrong formula that explains a fault, and for few other faults: both take time."""
    monkeypatch.setattr("gradoracle.conformance.checking.examination.FURTHER", 2)
    monkeypatch.setattr("gradoracle.conformance.checking.finding.explanations", lambda *_: [])
    monkeypatch.setattr("gradoracle.conformance.checking.check_run.domain_hint", lambda *_: "")


def require_true(functions, case, script_backend, contract, monkeypatch):
    """Require that a check finds a mismatch whose call and script are true."""
    operator, formula, property_ = case
    found = []
    real = finding_module.finding
    monkeypatch.setattr(
        finding_module,
        "finding",
        lambda m, **o: found.append((m.exam, real(m, **o))) or found[-1][1],
    )
    backend = wrap(SimpleNamespace(contract=contract, **functions))
    outcome = examine(backend, operator, formula, property_, examples=300, seed=1)
    assert outcome.status == "mismatch", (outcome.status, outcome.reason)
    assert outcome.disputed == 0  # on no call that was drawn the property fails for the oracle
    if property_.name != "is_stateless":  # whose first answers are wrong where others came before
        assert outcome.also_seen == [], outcome.also_seen
    exam, finding = found[-1]
    assert not finding.unsteady
    assert exam._holds_for_the_oracle(exam.broken[0])
    script = outcome.mismatch.script
    compile(script, "script", "exec")
    if "import" not in script:
        return
    assert run(script, script_backend()) is not None, f"{outcome.reason}\n{script}"
    right = run(script, ORACLE)
    assert right is None, f"{outcome.reason}\n{script}\n{right!r}"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", CASES, ids="-".join)
def test_every_report_is_true(name, monkeypatch):
    case = CASES[name]
    if name[0] != "is_stateless":  # whose first answers are wrong where others came before
        monkeypatch.setattr("gradoracle.conformance.checking.examination.FURTHER_IF_LIGHT", 2)

    def functions():
        return planted(*case)

    require_true(functions(), case, functions, CONTRACT, monkeypatch)


def test_there_is_a_report_of_every_property_and_operator():
    assert len(CASES) > 100
    assert im2col.relu is not oracle.relu
