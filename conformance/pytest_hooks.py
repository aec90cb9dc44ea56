"""What `pytest conformance` does: options, one test per check, the certificate at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from conformance.backend import Backend
from conformance.certificate import Certificate, Outcome
from conformance.certify import certificate, checks, fresh_seed, run_check
from conformance.profiles import PROFILES
from conformance.registry import SHIPPED, UnknownBackend, UnusableBackend, load

PROPERTY = "gradoracle"  # the name under which a test report carries its outcome

for _name, _examples in PROFILES.items():
    hypothesis.settings.register_profile(_name, max_examples=_examples, deadline=None)


class Run:
    """One session's backends, seed and outcomes."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the options; load the backends."""
        inherited = getattr(config, "workerinput", {}).get(PROPERTY, {})
        self.seed: int = inherited.get("seed", _seed(config))
        self.examples = hypothesis.settings.get_profile(_profile(config)).max_examples
        self.profile = _profile(config)
        self.backends: list[Backend] = []
        self.unusable: list[str] = []
        self.outcomes: list[Outcome] = []
        names = _names(config)
        for name in names or SHIPPED:
            try:
                self.backends.append(load(name))
            except (UnknownBackend, UnusableBackend) as error:
                if names:
                    raise pytest.UsageError(str(error)) from None
                self.unusable.append(str(error))

    def certificates(self) -> list[Certificate]:
        """Return the certificate of every backend."""
        order = {(f.__name__, p.name): i for i, (_, f, p) in enumerate(checks())}
        outcomes = sorted(self.outcomes, key=lambda o: order[o.formula, o.property_name])
        return [
            certificate(
                backend,
                [o for o in outcomes if o.backend == backend.name],
                self.seed,
                self.examples,
            )
            for backend in self.backends
        ]


RUN = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options; how hard it looks is Hypothesis's own --hypothesis-profile."""
    group = parser.getgroup("gradoracle", "certify a backend (see also --hypothesis-profile)")
    group.addoption(
        "--backend", action="append", metavar="NAME", default=[],
        help="backend to certify: a registered name or an import path such as mypkg.kernels or "
        "mypkg.kernels:backend; may be repeated (default: every shipped one that can run)",
    )  # fmt: skip
    group.addoption(
        "--seed", type=int, default=None, metavar="N",
        help="repeat the run that printed this seed (default: a fresh one)",
    )  # fmt: skip
    group.addoption(
        "--certificate", type=Path, default=None, metavar="FILE",
        help="write the certificate as JSON; with several backends, FILE gets their names",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Load what is to be judged, so that a wrong name is told before anything runs."""
    config.stash[RUN] = Run(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give every xdist worker the session's seed."""
    node.workerinput[PROPERTY] = {"seed": node.config.stash[RUN].seed}


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is judged, how hard, and with which seed."""
    run = config.stash[RUN]
    names = ", ".join(backend.name for backend in run.backends) or "nothing"
    profiles = ", ".join(f"{name} {count}" for name, count in PROFILES.items())
    certifying = (
        f"gradoracle: certifying {names}; profile {run.profile}, {run.examples} examples a check "
        f"({profiles}); seed {run.seed}"
    )
    return [
        certifying,
        *(f"gradoracle: left out: {reason}" for reason in run.unusable),
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every backend, formula and property."""
    if (
        "check" not in metafunc.fixturenames
        or metafunc.module.__name__ != "conformance.test_certify"
    ):
        return
    run = metafunc.config.stash[RUN]
    cases = [
        pytest.param((backend, *case), id=f"{backend.name}-{case[1].__name__}-{case[2].name}")
        for backend in run.backends
        for case in checks()
    ]
    metafunc.parametrize("check", cases)


@pytest.fixture
def examined(check: tuple[Any, ...], request: pytest.FixtureRequest) -> Outcome:
    """Return the outcome of a check, and keep it for the certificate."""
    run = request.config.stash[RUN]
    outcome = run_check(*check, examples=run.examples, seed=run.seed)
    request.node.user_properties.append((PROPERTY, json.dumps(asdict(outcome))))
    return outcome


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect outcomes as they fall, from this process or from xdist's workers."""
    if report.when == "call":
        for name, value in report.user_properties:
            if name == PROPERTY:
                _COLLECTED.append(Outcome(**json.loads(str(value))))


_COLLECTED: list[Outcome] = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the certificate, and fail a whole run that certifies nothing."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    run = config.stash[RUN]
    run.outcomes = list(_COLLECTED)
    certificates = run.certificates() if run.outcomes else []
    path = config.getoption("certificate")
    for one in certificates:
        if path is not None:
            _certificate_path(path, one, certificates).write_text(one.to_json(), encoding="utf-8")
    whole = all(len(one.outcomes) == one.expected for one in certificates)
    if exitstatus == 0 and whole and not all(one.passed for one in certificates):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the certificates."""
    run = config.stash[RUN]
    if not run.outcomes:
        return
    for one in run.certificates():
        good = {"green": True} if one.passed else {"red": True}
        terminalreporter.section("gradoracle", **good)
        terminalreporter.write_line(one.text())


def _certificate_path(path: Path, one: Certificate, certificates: Sequence[Certificate]) -> Path:
    if len(certificates) == 1:
        return path
    return path.with_name(f"{path.stem}.{one.backend.replace(':', '.')}{path.suffix}")


def _names(config: pytest.Config) -> list[str]:
    return [n for option in config.getoption("backend") for n in option.split(",") if n]


def _seed(config: pytest.Config) -> int:
    """Return --seed, or Hypothesis's own option, or a fresh seed."""
    if config.getoption("seed") is not None:
        return int(config.getoption("seed"))
    given = config.getoption("--hypothesis-seed", None)
    if given is None:
        return fresh_seed()
    try:
        return int(given)
    except ValueError:
        raise pytest.UsageError(
            f"--hypothesis-seed must be an integer here, got {given!r}"
        ) from None


def _profile(config: pytest.Config) -> str:
    return str(config.getoption("--hypothesis-profile", None) or "certify")
