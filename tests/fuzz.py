"""Stored results with something changed, given to every command that reads them.

    python -m tests.fuzz --count 10000 --seed 1

A command must end with one of its documented exit codes and without a traceback, and a journal of a
wrong backend must never become a certificate.  Commands run in this process; where they would run
checks, the outcomes of a run that was made before are given back.
"""

import argparse
import contextlib
import copy
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from rich.console import Console
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.backends.contract import read_contract
from gradoracle.conformance.backends.registry import IN_PROCESS, UnusableBackend, load, wrap
from gradoracle.conformance.campaigns import campaign
from gradoracle.conformance.campaigns.shards import Shard, Tally, seed_of
from gradoracle.conformance.campaigns.verification import OF_THE_RUN
from gradoracle.conformance.cli import app
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.reports.certificate_json import digest
from gradoracle.conformance.runs import command, playback
from gradoracle.conformance.runs.certify import certificate
from gradoracle.conformance.runs.journal import Journal, JournalError, read, settled

DEEP = 100_000
NAME = "tests.fuzz:wrong"
SOME = [o for o in OPERATORS if o.name in ("relu", "linear")]
VALUES = [
    None, True, False, 0, -1, 1, 2**53, 2**70, 10**400, 0.5, -0.0, 1e308, "", "x", "nan", "passed",
    "fine", "a\nb", "\x1b[31m", "\ud800", "0" * 64, [], [[]], [None], {}, {"x": 1}, [1, 2, 3],
]  # fmt: skip
TEXTS = ["NaN", "Infinity", "-Infinity", "1e999", "[" * DEEP, "[" * 200 + "]" * 200, '"\\ud800"',
         '{"a": 1, "a": 2}', "9" * 5000, "", "null", "\ufeff", "'x'"]  # fmt: skip
CODES = {
    "diff": {0, 1, 2}, "verify": {0, 1, 2, 3}, "replay": {0, 1, 2}, "resume": {1, 2},
    "read": {0, 1, 2, 3},
    "history": {0, 1, 2},
}  # fmt: skip


class Wrong:
    """linear_grad_weight is twice what it is where a batch has three images."""

    def __getattr__(self, name):
        from gradoracle.implementations import im2col

        if name not in ("relu", "relu_grad", "linear", "linear_grad_input"):
            raise AttributeError(name)
        return getattr(im2col, name)

    def linear_grad_weight(self, grad_output, x):
        return grad_output.T @ x * (1 + (len(x) == 3))


wrong = Wrong()
CONTRACT = {
    "functions": ["relu", "linear"], "dtypes": ["float32", "float64"],
    "not_claimed": {"float64": ["relu"]}, "accumulators": {"float32": "float64"},
    "algorithms": {}, "policies": {"ties": "first", "subnormals": "kept"},
    "deviations": [
        {"formula": "relu_grad", "property": "matches_oracle", "reason": "relu'(0) is 1"},
        {"formula": "linear", "reason": "it is wrong"},
    ],
    "runs_on": "this machine",
}  # fmt: skip


# -- changes --------------------------------------------------------------------------------------


def places(content, at=()):
    """Every place in JSON, the whole first."""
    yield at
    inner = content.items() if isinstance(content, dict) else (
        enumerate(content) if isinstance(content, list) else ()
    )  # fmt: skip
    for key, value in inner:
        yield from places(value, (*at, key))


def found(content, at):
    for key in at:
        content = content[key]
    return content


def is_like(one, other):
    return type(one) is type(other) and one != other


def changed(chance, content):
    """A copy of JSON with one thing in it dropped, swapped, put elsewhere or replaced."""
    content = copy.deepcopy(content)
    some = [*places(content)]
    *at, last = chance.choice(some[1:]) or (None,)
    holder = found(content, at)
    how = chance.randrange(12)
    if how > 5:
        alike = [one for one in map(partial(found, content), some) if is_like(one, holder[last])]
        holder[last] = copy.deepcopy(chance.choice(alike or VALUES))
    elif how == 0:
        del holder[last]
    elif how == 1:
        holder[last] = copy.deepcopy(found(content, chance.choice(some)))
    elif how == 2 and isinstance(holder, dict):
        holder[chance.choice(["x", "\ud800", "", str(last).upper()])] = holder.pop(last)
    elif how == 3 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    elif how == 4 and isinstance(holder[last], (int, float)):
        holder[last] = chance.choice([-holder[last], holder[last] * 2**60, str(holder[last])])
    else:
        holder[last] = copy.deepcopy(chance.choice(VALUES))
    return content


def torn(chance, text):
    """Some bytes with one flipped, or a part cut out, doubled or put in another's place."""
    raw = bytearray(text)
    at = chance.randrange(len(raw))
    how = chance.randrange(4)
    if how == 0:
        raw[at] ^= 1 << chance.randrange(8)
    elif how == 1:
        del raw[at : at + chance.randrange(1, 200)]
    elif how == 2:
        raw[at:at] = raw[at : at + chance.randrange(1, 200)]
    else:
        end = at + chance.randrange(1, 30)
        raw[at:end] = chance.choice(TEXTS).encode("utf-8", "surrogatepass")
    return bytes(raw)


def put_in(chance, content):
    """JSON in which one value is a text that is no value."""
    content = copy.deepcopy(content)
    *at, last = chance.choice([*places(content)][1:])
    found(content, at)[last] = "HERE"
    text = json.dumps(content).replace('"HERE"', chance.choice(TEXTS), 1)
    return text.encode("utf-8", "surrogatepass")


def certificate_file(chance, content):
    """A certificate with something changed, hashed anew as a rule."""
    how = chance.randrange(8)
    if how == 0:
        return torn(chance, json.dumps(content).encode())
    if how == 1:
        return put_in(chance, content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = changed(chance, content)
    if isinstance(content, dict) and chance.random() < 0.95:
        content = {name: value for name, value in content.items() if name != "sha256"}
        content["sha256"] = digest(content)
    return json.dumps(content).encode()


def journal_file(chance, entries, folder):
    """A journal with something changed, its lines chained anew as a rule."""
    entries = copy.deepcopy(entries)
    how = chance.randrange(6)
    if how < 4:
        at = chance.randrange(len(entries))
        entries[at] = changed(chance, entries[at])
        if not all(isinstance(entry, dict) for entry in entries):
            how = 4
    path = folder / "made"
    if how == 4:
        return "\n".join(map(json.dumps, entries)).encode() + b"\n"
    journal = Journal(path, entries[0], entries[1:])
    journal.close()
    text = path.read_bytes()
    return torn(chance, text) if how == 5 or chance.random() < 0.2 else text


def kept_run():
    """A file of pytest-benchmark, as far as it is read."""
    info = {
        "case": "a", "backend": "b", "network": "LeNet", "layer": "a", "function": "relu",
        "formula": "relu", "images": 1, "dtype": "float32", "products": 10, "bytes": 100,
        "verdict": "right", "wall": [1.0, 2.0], "cpu": [1.0, 2.0], "beside_wall": [1.0, 1.0],
        "beside_cpu": [1.0, 1.0], "product_cpu": [0.5, 0.5], "peak": 200, "own": 100,
    }  # fmt: skip
    return {
        "benchmarks": [{"extra_info": info}, {"extra_info": {**info, "case": "b"}}],
        "machine_info": {"cpu": {"brand_raw": "x"}, "processor": "x", "gradoracle": {"BLAS": "y"}},
        "commit_info": {"id": "0123456789abcdef"}, "datetime": "2026-01-01T00:00:00",
        "gradoracle": {"run": "r", "roofs": {"float32": 1e11}, "bandwidth": 1e10},
    }  # fmt: skip


def compared(content):
    """A certificate without what differs from run to run."""
    outcomes = [{n: v for n, v in o.items() if n not in OF_THE_RUN} for o in content["outcomes"]]
    return {**content, "outcomes": outcomes, "sha256": "", "places": {}}


# -- what is read ---------------------------------------------------------------------------------


class Fuzz:
    """Results of one run, and the commands that read changed copies of them."""

    def __init__(self, folder):
        self.folder, self.cli = Path(folder), CliRunner()
        self.backend = load(NAME, IN_PROCESS)
        self.told = gradoracle.check(
            self.backend, operators=["relu", "linear"], examples=12, seed=3
        )
        assert self.told.mismatches
        self.content = json.loads(self.told.to_json())
        self.outcomes = self.told.outcomes
        header = settled(self.backend, examples=25, operators=SOME, confinement=IN_PROCESS)
        self.header = {"format": "gradoracle journal 3", **header, "seed": 3}
        plain = json.loads(json.dumps(self.content["outcomes"]))
        self.lines = [self.header, *plain]
        self.shards = [
            Shard(n, seed_of(3, n), self.outcomes, self.told.confinement).to_entry()
            for n in range(2)
        ]
        self.shards.insert(0, {"format": campaign.FORMAT, **header, "seed": 3})
        self.shards = json.loads(json.dumps(self.shards))
        self.run = kept_run()
        (self.folder / "right.json").write_text(self.told.to_json())

    def is_same(self, path):
        """Whether a certificate would be run again: its code is what is here."""
        try:
            return not command.others(Certificate.from_json(path.read_bytes()))
        except (OSError, ValueError):
            return False

    def called(self, *arguments):
        result = self.cli.invoke(app, [*map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    def diff(self, chance):
        path = self.written("c.json", certificate_file(chance, self.content))
        return self.called("diff", self.folder / "right.json", path)

    def verify(self, chance):
        path = self.written("c.json", certificate_file(chance, self.content))
        again = Certificate.from_json(self.told.to_json())
        if chance.random() < 0.1:  # for the backend's and the suite's files
            code, output = self.called("verify", path) if not self.is_same(path) else (3, "")
            return code or -1, output
        with (
            mock.patch.object(command, "others", return_value=[]),
            mock.patch.object(command, "certify", return_value=again),
            mock.patch.object(command, "repeated", return_value=again.outcomes),
        ):
            code, output = self.called("verify", path)
        if code == 0 and compared(json.loads(path.read_bytes())) != compared(self.content):
            return -1, f"a forged certificate is verified: {output}"
        return code, output

    def replay(self, chance):
        path = self.written("c.json", certificate_file(chance, self.content))
        with mock.patch.object(playback, "load", return_value=self.backend):
            return self.called("replay", path)

    def read(self, chance):
        """The commands that read a certificate and run nothing."""
        path = self.written("c.json", certificate_file(chance, {**self.content, "shard": "1/1"}))
        return self.called(chance.choice(("badge", "attest", "deviate", "merge")), path)

    def resume(self, chance):
        """Nothing that is done to a wrong backend's journal certifies it."""
        path = Path(".gradoracle") / f"{NAME.replace(':', '.')}.journal"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(journal_file(chance, self.lines, self.folder))
        by_check = {(o.formula, o.property_name): o for o in self.outcomes}

        def judged(backend, cases, **options):
            return (by_check[case] for case in cases)

        with (
            mock.patch.object(command, "load", return_value=self.backend),
            mock.patch.object(command, "judge", judged),
        ):
            return self.called(
                "certify", NAME, "--operators", "relu,linear", "--profile", "quick", "--in-process",
                "--resume",
            )  # fmt: skip

    def pytest(self, chance):
        path = self.written("p", journal_file(chance, self.lines, self.folder))
        with contextlib.suppress(JournalError):
            read(path)
        return 0, ""

    def campaign(self, chance):
        path = self.written("c", journal_file(chance, self.shards, self.folder))
        empty = certificate(self.backend, [], 3, 25, SOME)
        order = command.Order(NAME, resume=True)
        plan = campaign.Plan(order, 1000, file=path)
        with open("/dev/null", "w") as nowhere, contextlib.suppress(JournalError):  # noqa: PTH123
            campaign._seed(plan, self.shards[0])
            tally = Tally(empty, 1000)
            [*campaign._before(plan, tally, Console(file=nowhere))]
            tally.certificate().text()
        return 0, ""

    def history(self, chance):
        how = chance.randrange(4)
        text = json.dumps(self.run).encode()
        if how == 0:
            text = torn(chance, text)
        elif how == 1:
            text = put_in(chance, self.run)
        else:
            text = json.dumps(changed(chance, self.run)).encode()
        folder = self.folder / "kept" / "machine"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "0001_b.json").write_text(json.dumps(self.run))
        (folder / "0002_b.json").write_bytes(text)
        return self.called("history", "--storage", folder.parent)

    def deviations(self, chance):
        contract = copy.deepcopy(CONTRACT)
        for _ in range(chance.choice((1, 1, 2))):
            contract = changed(chance, contract)
        with contextlib.suppress(ValueError):
            read_contract(contract, ("relu", "linear"))
        with contextlib.suppress(UnusableBackend):
            wrap(SimpleNamespace(relu=wrong.relu, linear=wrong.linear, contract=contract))
        return 0, ""

    def written(self, name, text):
        path = self.folder / name
        path.write_bytes(text)
        return path


READERS = (
    "diff",
    "verify",
    "replay",
    "read",
    "resume",
    "pytest",
    "campaign",
    "history",
    "deviations",
)


def fuzzed(seeds):
    """Give a changed input to one reader after the other; yield what is wrong, and the counts."""
    counts = Counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        fuzz = Fuzz(folder)
        for seed in seeds:
            reader = READERS[seed % len(READERS)]
            try:
                code, output = getattr(fuzz, reader)(random.Random(seed))  # noqa: S311
            except Exception:  # noqa: BLE001 - that is what is looked for
                yield seed, reader, traceback.format_exc()
                continue
            counts[reader, code] += 1
            if counts.total() % 500 == 0:
                sys.stderr.write(f"{counts.total()} inputs\n")
            if code not in CODES.get(reader, {0}):
                yield seed, reader, f"exit code {code}: {output[-500:]}"
    yield -1, "", counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start, failures = time.monotonic(), 0
    for seed, reader, said in fuzzed(range(given.seed, given.seed + given.count)):
        if seed == -1:
            for (name, code), count in sorted(said.items()):
                sys.stdout.write(f"{name:12} exit {code}: {count}\n")
            continue
        failures += 1
        sys.stdout.write(f"seed {seed}, {reader}: {said}\n")
    took = time.monotonic() - start
    sys.stdout.write(f"{given.count} inputs, {failures} failures, {took:.0f} s\n")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
