"""What `pytest conformance` does: options, one test per check, the certificate at the end."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

import hypothesis
import pytest

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.interrupts import heeded
from gradoracle.conformance.backends.isolation.limits import GIB, Limits
from gradoracle.conformance.backends.registry import (
    SHIPPED,
    Confinement,
    UnknownBackend,
    UnusableBackend,
)
from gradoracle.conformance.backends.stops import new_file
from gradoracle.conformance.checking.check_run import unclaimed
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.pages.certificate_page import certificate_page
from gradoracle.conformance.pages.render import environment
from gradoracle.conformance.pytest_plugin.entry import BENCHMARKS
from gradoracle.conformance.reports import formats, output
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.reports.formats import own_file
from gradoracle.conformance.reports.terminal import WIDEST, Look
from gradoracle.conformance.runs.certify import certificate, credible, fresh_seed, run_check
from gradoracle.conformance.runs.jobs import did_before, done_by
from gradoracle.conformance.runs.journal import JournalError, Journals, settled
from gradoracle.conformance.runs.loading import load
from gradoracle.conformance.runs.parts import formulas_in, numbers_of, part_of_name

TESTS = Path(__file__).parents[1] / "test_certify.py"
TIMED = Path(__file__).parents[1] / "benchmarks"
PROPERTY = "gradoracle"  # the name under which a test report carries its outcome
ACTS = "gradoracle-acts"  # and what its backend did beside answering by then
DONE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
# Options of `gradoracle certify` that pytest says are there only.
CERTIFY_HAS = ("remember", "regressions")
Check: TypeAlias = tuple[str, str, str]  # the names of a backend, a formula and a property

for _name, _examples in PROFILES.items():
    hypothesis.settings.register_profile(_name, max_examples=_examples, deadline=None)


class Run:
    """One session's backends, seed and outcomes; registered as a plugin, it collects them."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the options; load the backends."""
        inherited = json.loads(getattr(config, "workerinput", {}).get(PROPERTY, "{}"))
        self.profile, self.examples = _profile(config)
        self.at_scale = bool(config.getoption(_dest("at-scale")))
        self.file: Path | None = config.getoption("gradoracle_certificate")
        self.html: Path | None = config.getoption(_dest("certificate-html"))
        self.backends: list[Backend] = []
        self.unusable: list[str] = []
        _require_known(config)
        self.shard = str(config.getoption(_dest("shard")))
        self.before: dict[Check, Outcome] = {}  # what an interrupted run had checked
        self.outcomes: list[Outcome] = []
        self.kept: list[str] = []  # the journals that an interrupted run leaves
        self.silent: list[str] = []  # checks that ended without an outcome
        self.unwritten: list[str] = []  # certificates that could not be written, and why
        confinement = _confinement(config)
        self._load(_names(config), confinement)
        _require_one_backend(config, self.backends)
        # A worker of xdist has no journals: what it checks is reported to the session.
        self.journals = None if inherited else self._journals(confinement)
        given, before = _seed(config), [Outcome(**o) for o in inherited.get("before", ())]
        if self.journals is not None and config.getoption(_dest("resume")):
            given, before = self._resumed(self.journals, given)
            before = self._credible(before)
            self.journals.keep(before)
            for backend in self.backends:
                did_before(backend, self.journals.acts(backend.name))
        self.seed: int = inherited.get("seed", fresh_seed() if given is None else given)
        self.before = {_check(outcome): outcome for outcome in before}
        # Of functions that are not called any more, for all processes of the session.
        self.stops = Path(inherited["stops"]) if inherited else new_file()
        if not inherited:
            config.add_cleanup(lambda: self.stops.unlink(missing_ok=True))
        for backend in self.backends:
            for outcome in before:
                backend.stops.note(outcome)
            backend.stops.file = self.stops
        self.shards = {b.name: _formulas(b, self.shard) for b in self.backends}
        self.unclaimed = {
            _check(o): o
            for backend in self.backends
            for o in _unclaimed(backend)
            if o.formula in self.shards[backend.name]
        }
        self._certificates: list[Certificate] | None = None
        # Where only some checks are run, others than before.
        self.unseen = {*self.before} - {*self.unclaimed}
        self.outcomes = [*before]

    def _load(self, names: Sequence[str], confinement: Confinement) -> None:
        """Load these backends, or every shipped one that can run."""
        for name in names or SHIPPED:
            try:
                self.backends.append(load(name, confinement))
            except (UnknownBackend, UnusableBackend) as error:
                if names:
                    raise pytest.UsageError(str(error)) from None
                self.unusable.append(str(error))

    def _journals(self, confinement: Confinement) -> Journals:
        return Journals(
            {
                backend.name: settled(
                    backend,
                    examples=self.examples,
                    operators=OPERATORS,
                    confinement=confinement,
                    at_scale=self.at_scale,
                )
                for backend in self.backends
            },
            part_of_name(self.shard),
        )

    @staticmethod
    def _resumed(journals: Journals, seed: int | None) -> tuple[int | None, list[Outcome]]:
        try:
            return journals.resume(seed)
        except JournalError as error:
            raise pytest.UsageError(str(error)) from None

    def _credible(self, before: list[Outcome]) -> list[Outcome]:
        """Return what an interrupted run says that can be so; the rest is run again."""
        return [
            outcome
            for backend in self.backends
            for outcome in credible(backend, [o for o in before if o.backend == backend.name])
        ]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Stop between two checks where Python has lost an interrupt."""
        with heeded():
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect outcomes as they fall, from this process or from xdist's workers."""
        if report.when != "call" or "test_certify[" not in report.nodeid:
            return
        found = [value for name, value in report.user_properties if name == PROPERTY]
        for outcome in (Outcome(**json.loads(str(value))) for value in found):
            self.unseen.discard(_check(outcome))
            if _check(outcome) not in self.before:
                self.outcomes.append(outcome)
                if self.journals is not None:
                    acts = [json.loads(str(v)) for n, v in report.user_properties if n == ACTS]
                    self.journals.write(outcome, self.seed, *acts)
        if not found:
            self.silent.append(report.nodeid)

    @property
    def says_something(self) -> bool:
        """Whether a check was run, or a backend has nothing that could be."""
        all_ = sum(1 for _ in checks())
        absent = Counter(backend for backend, _, _ in self.unclaimed)
        return bool(self.outcomes) or any(absent[one.name] == all_ for one in self.backends)

    def certificates(self) -> list[Certificate]:
        """Return the certificate of every backend; what is not claimed is in it without a test."""
        if self._certificates is None:
            self._certificates = self._made()
            for backend in self.backends:  # recorded calls of known deviations were made again
                backend.asked.close()
        return self._certificates

    def _made(self) -> list[Certificate]:
        order = {(f.__name__, p.name): i for i, (_, f, p) in enumerate(checks())}
        run = {_check(outcome) for outcome in self.outcomes}
        shown = {check[:2] for check in run}
        # Where only some checks are run, of other formulas nothing is said.
        every = {
            (b.name, f.__name__, p.name)
            for b in self.backends
            for _, f, p in checks()
            if f.__name__ in self.shards[b.name]
        }
        whole = every - {*self.unclaimed} <= run
        rest = [
            outcome
            for check, outcome in self.unclaimed.items()
            if check not in run and (whole or check[:2] in shown)
        ]
        outcomes = sorted([*self.outcomes, *rest], key=lambda o: order[o.formula, o.property_name])
        return [
            certificate(
                backend,
                [o for o in outcomes if o.backend == backend.name],
                self.seed,
                self.examples,
                at_scale=self.at_scale,
                shard=self.shard,
            )
            for backend in self.backends
        ]

    def files(self) -> dict[str, Path]:
        """Return the file of every backend's certificate."""
        return self._own_files(self.file)

    def pages(self) -> dict[str, Path]:
        """Return the file of every certificate's page."""
        return self._own_files(self.html)

    def _own_files(self, file: Path | None) -> dict[str, Path]:
        alone = len(self.backends) == 1
        return {b.name: own_file(file, b.name, alone=alone) for b in self.backends} if file else {}

    def write(self, certificates: Sequence[Certificate]) -> None:
        """Write certificates to their files, and remember why one cannot be written."""
        files, pages = self.files(), self.pages()
        for one in certificates:
            try:
                if one.backend in files:
                    output.write("--certificate", files[one.backend], one.to_json())
                if one.backend in pages:
                    page = certificate_page(one, (self.file or Path("CERTIFICATE.json")).name)
                    output.write("--certificate-html", pages[one.backend], page)
            except output.CannotWrite as error:
                self.unwritten.append(str(error))


RUN = pytest.StashKey[Run]()


def _formulas(backend: Backend, shard: str) -> set[str]:
    """Return the names of the formulas that a run checks: all, or those of a shard."""
    if not shard:
        return {formula.__name__ for _, formula, _ in checks()}
    return formulas_in(backend, OPERATORS, shard)


def _require_known(config: pytest.Config) -> None:
    """Raise UsageError for an option that `gradoracle certify` has alone, and a wrong --shard."""
    for name in CERTIFY_HAS:
        if config.getoption(_dest(name)) is not None:
            raise pytest.UsageError(
                f"pytest has no --{name}: `gradoracle certify NAME --{name}` keeps and tries "
                "remembered calls"
            )
    shard = str(config.getoption(_dest("shard")))
    if not shard:
        return
    try:
        numbers_of(shard)
    except ValueError as error:
        raise pytest.UsageError(f"--shard: {error}") from None
    if _seed(config) is None:
        raise pytest.UsageError(f"--shard {shard} needs --seed N, the same for all shards")


def _require_one_backend(config: pytest.Config, backends: Sequence[Backend]) -> None:
    file = config.getoption(_dest("deviations"))
    if file and len(backends) != 1:
        raise pytest.UsageError(f"--deviations {file} is of one backend: name one with --backend")


def _unclaimed(backend: Backend) -> list[Outcome]:
    """Return the outcomes of the checks of what a backend does not claim: they are no tests."""
    found = (unclaimed(backend, *case, observes=False) for case in checks())
    return [one for one in found if one is not None]


def _check(outcome: Outcome) -> Check:
    return outcome.backend, outcome.formula, outcome.property_name


# The command line's options, but for Hypothesis's own --hypothesis-profile.
OPTIONS: dict[str, dict[str, Any]] = {
    "backend": {
        "action": "append", "metavar": "NAME", "default": [],
        "help": "backend to certify: a registered name or an import path such as "
        "mypkg.kernels or mypkg.kernels:backend; may be repeated (default: every shipped one "
        "that can run)",
    },
    "operators-from": {
        "metavar": "MODULE,...", "default": "",
        "help": "modules that list more operators in OPERATORS (see gradoracle.extend)",
    },
    "domain": {
        "metavar": "TEXT", "default": "",
        "help": 'calls that backends are made for: "conv2d: stride = 1, bias required"',
    },
    "policy": {
        "metavar": "TEXT", "default": "",
        "help": 'conventions that backends have: "nan = dropped, log_sum_exp = unshifted"',
    },
    "deviations": {
        "metavar": "FILE", "default": "",
        "help": "known deviations beside the contract's, of one backend: see gradoracle deviate",
    },
    "shard": {
        "metavar": "N/M", "default": "",
        "help": "run the N-th of M parts of the checks, with --seed: see gradoracle merge",
    },
    **{
        name: {"nargs": "?", "const": "", "help": argparse.SUPPRESS} for name in CERTIFY_HAS
    },
    "seed": {
        "type": int, "metavar": "N", "default": None,
        "help": "repeat the run that printed this seed (default: a fresh one)",
    },
    "certificate": {
        "type": Path, "metavar": "FILE", "default": None,
        "help": "write the certificate as JSON; with several backends, FILE gets their names",
    },
    "certificate-html": {
        "type": Path, "metavar": "FILE", "default": None,
        "help": "write a page of the certificate; with several backends, FILE gets their names",
    },
    "resume": {
        "action": "store_true",
        "help": "go on with the run of these backends that was interrupted in this folder, "
        "from .gradoracle/NAME.journal: same seed, and what it checked is not checked again",
    },
    "at-scale": {
        "action": "store_true",
        "help": "check all layers of LeNet, VGG-16, ResNet-50, MobileNet, U-Net and FCN-8s, "
        "one image and up to 32 (default: the few small ones); a slow backend needs a longer "
        "--call-timeout",
    },
    "in-process": {
        "action": "store_true",
        "help": "check in pytest's own process, to debug a backend: one that crashes or hangs "
        "takes the run with it",
    },
    "forbid": {
        "action": "append", "metavar": "MODULE", "default": [],
        "help": "refuse to import MODULE (a comma between several) in the backend's process",
    },
    "call-timeout": {
        "type": float, "metavar": "SECONDS", "default": Limits.call,
        "help": f"of a call (default: {Limits.call:g}); a function's first has at least "
        f"{Limits.first:g}, to compile",
    },
    "import-timeout": {
        "type": float, "metavar": "SECONDS", "default": Limits.start,
        "help": f"of a backend's import (default: {Limits.start:g})",
    },
    "memory": {
        "type": float, "metavar": "GIB", "default": Limits.memory / GIB,
        "help": f"that the backend's process may hold (default: {Limits.memory / GIB:g})",
    },
}  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options; how hard it looks is Hypothesis's own --hypothesis-profile."""
    group = parser.getgroup("gradoracle", "certify a backend (see also --hypothesis-profile)")
    for name, options in OPTIONS.items():
        names = (f"--{name}", f"--gradoracle-{name}")
        try:
            group.addoption(*names, dest=_dest(name), **options)
        except ValueError:  # another plugin has the short name
            group.addoption(names[1], dest=_dest(name), **options)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let a process of pytest-xdist that is done take what others still have to do.

    Checks take from milliseconds to seconds; its default shares them out by number.
    """
    option = config.option
    if getattr(option, "numprocesses", None) and getattr(option, "dist", "") == "no":
        option.dist = "worksteal"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the benchmarks alone, unless they are what the command line names."""
    timing = config.pluginmanager.has_plugin(BENCHMARKS)
    return True if collection_path == TIMED and not timing else None


def pytest_configure(config: pytest.Config) -> None:
    """Load what is to be checked, so that a wrong name is reported before anything runs."""
    folder = str(config.invocation_params.dir)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as `python -m pytest` does: a backend may lie right here
    if config.pluginmanager.has_plugin(BENCHMARKS):
        return  # nothing is checked
    run = config.stash[RUN] = Run(config)
    config.pluginmanager.register(run, "gradoracle-run")
    if hasattr(config, "workerinput"):
        return
    targets = [("--certificate", path) for path in run.files().values()]
    targets += [("--certificate-html", path) for path in run.pages().values()]
    for option, path in targets:
        try:
            if option == "--certificate-html":
                environment()
            output.require_writable(option, path)
        except (output.CannotWrite, ImportError) as error:
            raise pytest.UsageError(str(error)) from None
        if path.is_file():
            path.unlink()  # what it says would be about another run


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give every xdist worker the session's seed, and what was checked before it."""
    run = node.config.stash.get(RUN, None)
    if run is None:
        return
    before = [asdict(outcome) for outcome in run.before.values()]
    inherited = {"seed": run.seed, "before": before, "stops": str(run.stops)}
    node.workerinput[PROPERTY] = json.dumps(inherited)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep what the backends did where an xdist worker checked them."""
    run = node.config.stash.get(RUN, None)
    told = json.loads(getattr(node, "workeroutput", {}).get(PROPERTY, "{}"))
    for backend in run.backends if run is not None else ():
        if backend.name in told:
            backend.kept_elsewhere.append(told[backend.name])


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is checked, how hard, and with which seed."""
    run = config.stash.get(RUN, None)
    if run is None:
        return []
    names = ", ".join(backend.name for backend in run.backends) or "nothing"
    profiles = ", ".join(f"{name} {count}" for name, count in PROFILES.items())
    certifying = (
        f"gradoracle: certifying {names}; profile {run.profile}, {run.examples} examples a check "
        f"({profiles}); seed {run.seed}"
    )
    before = [f"gradoracle: going on after {len(run.before)} checks"] if run.before else []
    return [
        certifying,
        *before,
        *(f"gradoracle: left out: {reason}" for reason in run.unusable),
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every backend, formula and property."""
    run = metafunc.config.stash.get(RUN, None)
    ours = Path(str(metafunc.module.__file__)) == TESTS
    if run is None or not ours or "check" not in metafunc.fixturenames:
        return
    cases = [
        pytest.param((backend, *case), id=f"{backend.name}-{case[1].__name__}-{case[2].name}")
        for backend in run.backends
        for case in checks()
        if (backend.name, case[1].__name__, case[2].name) not in run.unclaimed
        and case[1].__name__ in run.shards[backend.name]
    ]
    metafunc.parametrize("check", cases)


@pytest.fixture
def examined(check: tuple[Any, ...], request: pytest.FixtureRequest) -> Outcome:
    """Return the outcome of a check, found now or before, and keep it for the certificate."""
    run = request.config.stash[RUN]
    backend, _, formula, property_ = check
    outcome = run.before.get((backend.name, formula.__name__, property_.name))
    if outcome is None:
        outcome = run_check(*check, examples=run.examples, seed=run.seed, at_scale=run.at_scale)
    request.node.user_properties.append((PROPERTY, json.dumps(asdict(outcome))))
    request.node.user_properties.append((ACTS, json.dumps(done_by(backend))))
    return outcome


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the certificate, and fail a run that finds a mismatch or certifies nothing."""
    config = session.config
    run = config.stash.get(RUN, None)
    if run is None:
        return
    if hasattr(config, "workerinput"):
        told = {backend.name: backend.asked.kept() for backend in run.backends}
        config.workeroutput[PROPERTY] = json.dumps(told)  # type: ignore[attr-defined]
    for backend in run.backends:
        backend.asked.close()
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    stopped = exitstatus not in DONE or session.shouldfail or session.shouldstop
    if run.journals is not None:
        run.kept = run.journals.end(done=not (stopped or run.silent or run.unseen))
    if exitstatus == pytest.ExitCode.INTERNAL_ERROR:  # pytest prints no summary then
        _tell_kept(run, config.pluginmanager.get_plugin("terminalreporter"))
    certificates = run.certificates() if run.says_something else []
    run.write(certificates)
    failed = any(
        one.mismatches or one.stale or (one.whole and not one.as_claimed) for one in certificates
    )
    if exitstatus == 0 and (failed or run.silent):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if run.unwritten:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the certificates."""
    run = config.stash.get(RUN, None)
    if run is None:
        return
    width, colour = terminalreporter._tw.fullwidth, terminalreporter._tw.hasmarkup  # noqa: SLF001
    look = Look(min(width, WIDEST), colour, getattr(sys.stdout, "encoding", None) or "utf-8")
    verbose = config.get_verbosity() > 0
    for one in run.certificates() if run.says_something else ():
        terminalreporter.section("gradoracle")
        file = run.files().get(one.backend) if not run.unwritten else None
        for line in formats.summary(one, look, whole=verbose, file=file):
            terminalreporter.write_line(line)
    for nodeid in run.silent:
        terminalreporter.write_line(f"no verdict: {nodeid} ended without an outcome", red=True)
    for line in run.unwritten:
        terminalreporter.write_line(line, red=True)
    _tell_kept(run, terminalreporter)
    if run.journals is not None and run.journals.problem:
        terminalreporter.write_line(run.journals.problem, yellow=True)


def _tell_kept(run: Run, terminalreporter: Any) -> None:
    if run.kept and terminalreporter is not None:
        told = f"{', '.join(run.kept)} has what was checked: --resume goes on"
        terminalreporter.write_line(told, yellow=True)


def _names(config: pytest.Config) -> list[str]:
    """Return the backends that are asked for, each once."""
    given = config.getoption("gradoracle_backend")
    names = [name.strip() for option in given for name in option.split(",")]
    if not all(names):
        raise pytest.UsageError(
            f"--backend {','.join(given)!r} names nothing; give a registered name or an import path"
        )
    return list(dict.fromkeys(names))


def _dest(name: str) -> str:
    return f"gradoracle_{name.replace('-', '_')}"


def _confinement(config: pytest.Config) -> Confinement:
    """Return how the backends are to be kept."""
    seconds = config.getoption(_dest("call-timeout"))
    imports = config.getoption(_dest("import-timeout"))
    memory = config.getoption(_dest("memory"))
    given = {"--call-timeout": seconds, "--import-timeout": imports, "--memory": memory}
    for name, value in given.items():
        if not 0 < value < inf:
            raise pytest.UsageError(f"{name} must be above 0 and finite, got {value:g}")
    forbidden = [m.strip() for given in config.getoption(_dest("forbid")) for m in given.split(",")]
    confinement = Confinement(
        in_process=config.getoption(_dest("in-process")),
        limits=Limits(seconds, max(seconds, Limits.first), imports, int(memory * GIB)),
        forbidden=tuple(forbidden),
    )
    if forbidden and not confinement.isolates:
        raise pytest.UsageError("--forbid needs the backend in a process of its own")
    return confinement


def _seed(config: pytest.Config) -> int | None:
    """Return --seed, or Hypothesis's own option, or None."""
    if config.getoption("gradoracle_seed") is not None:
        return int(config.getoption("gradoracle_seed"))
    given = config.getoption("--hypothesis-seed", None)
    if given is None:
        return None
    try:
        return int(given)
    except ValueError:
        raise pytest.UsageError(f"--hypothesis-seed must be an integer, got {given!r}") from None


def _profile(config: pytest.Config) -> tuple[str, int]:
    """Return the name and the examples of the profile, Hypothesis's own option."""
    name = str(config.getoption("--hypothesis-profile", None) or "certify")
    try:
        return name, hypothesis.settings.get_profile(name).max_examples
    except hypothesis.errors.InvalidArgument:
        raise pytest.UsageError(
            f"no --hypothesis-profile {name!r}; ours are {', '.join(PROFILES)}"
        ) from None
