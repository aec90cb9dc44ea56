"""`gradoracle campaign`: shards from seed to seed, on workers that may be lost, in one certificate.

PyTorch is not there in these processes: importing it takes longer than checking a shard.
"""

import io
import json
import math
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from itertools import permutations
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.backends.isolation.guardian import descendants
from gradoracle.conformance.backends.registry import ISOLATED
from gradoracle.conformance.campaigns.shards import (
    LOST,
    Shard,
    Tally,
    Work,
    both,
    contradictions,
    judged,
    merged,
    other_sums,
    seed_of,
    surveyed,
    verdicts,
)
from gradoracle.conformance.cli import app
from gradoracle.conformance.reports.certificate import (
    Campaign,
    Certificate,
    JudgedShard,
    Outcome,
    Showed,
)
from gradoracle.conformance.reports.certificate_json import digest
from gradoracle.conformance.reports.formats import junit
from gradoracle.conformance.runs.command import differences, exit_code
from gradoracle.conformance.runs.journal import entries_of
from tests.test_certificate_schema import OBJECTS, VALIDATOR, names
from tests.test_isolation import ours

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SEED = 5
QUICK = ("--operators", "relu", "--profile", "quick", "--seed", SEED)
CALLS = 380  # of a few shards

SLOW = """
import os, time
from pathlib import Path
from gradoracle.implementations import im2col
def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
with open("imports", "a") as file:
    print(parent(os.getppid()), file=file)  # the worker that checks, for which this is loaded
def relu(z):
    time.sleep(0.01)
    return im2col.relu(z)
"""
WRONG = """
from gradoracle.implementations.im2col import relu
def relu_grad(grad_output, z):
    return grad_output * (z > 0) * (1 + (z.size > 3))
"""
KILLS = """
import os, signal, time
from pathlib import Path
from gradoracle.implementations import im2col
def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
def relu(z):
    armed = Path("armed")
    if armed.exists() and (left := int(armed.read_text())):
        armed.write_text(str(left - 1))
        os.kill(parent(os.getppid()), signal.SIGKILL)
        time.sleep(60)
    return im2col.relu(z)
"""
CLUSTER = """
import logging, sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0,
                      dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


# -- what shards come to --------------------------------------------------------------------------


def report(z, text="a report"):
    """A counterexample, as far as it is compared."""
    said = dict.fromkeys(("equation", "source", "sentence", "repro"), "")
    return {
        **said,
        "headline": "relu is wrong",
        "looks_like": [],
        "replay": None,
        "element": None,
        "formula": "relu",
        "arguments": {"z": {"dtype": "float32", "shape": [len(z)], "data": z}},
        "nonzeros": {"z": sum(v != 0 for v in z)},
        "text": text,
        "script": "",
    }


def outcome(status="passed", *, name="linear", calls=10, z=None, **more):
    if z is not None:
        more |= {"status": "mismatch", "mismatch": report(z), "reason": f"relu{z}: wrong"}
    elif status != "passed":
        more.setdefault("reason", f"it is {status}")
    strata = {"float32": {"free": calls}} if calls else {}
    return Outcome("b", "relu", name, **{"status": status, "calls": strata, **more})


def shard(number, *outcomes, stale=False, **kept):
    confinement = {"process": "a process of its own", "limits": asdict(ISOLATED.limits),
                   "forbidden": [], "modules": {}, "refused": [], "acts": {}, **kept}  # fmt: skip
    return Shard(number, seed_of(SEED, number), [*outcomes], confinement, stale)


def empty(*cases, deviations=()):
    expected = [["relu", name] for name in cases or ("linear",)]
    contract = {"deviations": [*deviations], "dtypes": ["float32"], "has": ["relu"]}
    kept = shard(0).confinement
    return Certificate("b", "test", contract, SEED, 25, {}, [], expected, kept, {}, "0" * 64)


def test_seeds_come_from_the_campaign_s_seed_and_the_number():
    seeds = {(seed, number): seed_of(seed, number) for seed in (0, 1, 12) for number in range(300)}
    assert len({*seeds.values()}) == len(seeds)
    assert all(0 <= seed < 2**48 for seed in seeds.values())
    # Certificates name shards by these: they stay what they are.
    assert seed_of(0, 0) == 0xA311E35D3F07
    assert seed_of(1, 23) != seed_of(12, 3)


def test_calls_are_summed_and_errors_the_largest():
    one = outcome(calls=3, declined=1, not_judged=2, planted=4, worst_error_over_bound=0.5,
                  seconds=1.0, changed={"cwd": "relu"}, layers=["a"], layers_left=3)  # fmt: skip
    two = outcome(calls=0, declined=10, not_judged=20, planted=40, worst_error_over_bound=0.25,
                  seconds=2.0, changed={"TZ": ""}, layers=["a", "b"], layers_left=2)  # fmt: skip
    two.calls = {"float32": {"free": 5, "boundary": 7}, "float64": {"free": 1}}
    one.errors = {"float32": [1, *[0] * 9]}
    two.errors = {"float32": [2, *[1] * 9], "float64": [0] * 10}
    sums = both(one, two)
    assert sums.errors == {"float32": [3, *[1] * 9], "float64": [0] * 10}
    assert one.errors == {"float32": [1, *[0] * 9]}
    assert sums.calls == {"float32": {"free": 8, "boundary": 7}, "float64": {"free": 1}}
    assert (sums.declined, sums.not_judged, sums.planted, sums.seconds) == (11, 22, 44, 3.0)
    assert (sums.worst_error_over_bound, sums.layers_left) == (0.5, 2)
    assert (sums.layers, {*sums.changed}) == (["a", "b"], {"cwd", "TZ"})
    assert one.calls == {"float32": {"free": 3}}  # nothing that was given is changed
    assert both(two, one).calls == sums.calls


@pytest.mark.parametrize(
    ("worse", "better"),
    [("mismatch", "blind"), ("blind", "deviation"), ("blind", "passed"), ("deviation", "passed"),
     ("passed", "no call"), ("passed", "not run"), ("no call", "not run"),
     ("not run", "not claimed")],
)  # fmt: skip
def test_one_end_is_the_end_of_both(worse, better):
    strong, weak = outcome(worse), outcome(better)
    for pair in ((strong, weak), (weak, strong)):
        assert (both(*pair).status, both(*pair).reason) == (worse, strong.reason)
        assert both(*pair).judged == 20


def test_the_smallest_counterexample_is_kept_and_all_are_counted():
    found = [[1.0, 2.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    shards = [shard(n, outcome(z=z, calls=1)) for n, z in enumerate(found)]
    told = merged(empty(), shards, asked=4)
    (broken,) = told.outcomes
    assert broken.mismatch["arguments"]["z"]["data"] == [0.0, 1.0]
    assert (broken.reason, broken.judged) == ("relu[0.0, 1.0]: wrong", 4)
    assert told.campaign.showed == [Showed("relu", "linear", "mismatch", 4, 3, 1)]
    assert len(told.mismatches) == 1
    assert exit_code([told]) == 1
    assert "mismatch of relu, of 4 shards: linear in 4 with 3 counterexamples" in told.text()


def test_without_a_call_to_show_headlines_are_compared():
    def absent(number, reason, **more):
        return shard(number, outcome("mismatch", reason=reason, **more))

    told = merged(empty(), [absent(0, "gone"), absent(1, "gone"), absent(2, "other")], asked=30)
    assert told.campaign.showed == [Showed("relu", "linear", "mismatch", 3, 2, 0)]
    told = merged(empty(), [absent(0, "gone"), shard(1, outcome(z=[9.0] * 5))], asked=20)
    assert told.outcomes[0].mismatch is not None  # any call is easier to see than none
    assert told.campaign.showed[0].shard == 1


def test_the_order_in_which_shards_end_changes_nothing():
    shards = [
        shard(0, outcome(calls=4), outcome("no call", name="bitwise", calls=0)),
        shard(1, outcome(z=[1.0, 1.0], calls=2), outcome(name="bitwise", calls=1)),
        shard(2, outcome(z=[1.0, 1.0], calls=3), outcome(name="bitwise", calls=1)),
        shard(3, outcome(z=[1.0], calls=3), outcome(name="bitwise", calls=1)),
    ]
    told = merged(empty("linear", "bitwise"), shards[:3], asked=9)
    assert [one.counted for one in told.campaign.shards] == [True, True, True]
    assert [o.status for o in told.outcomes] == ["mismatch", "passed"]
    assert told.campaign.showed == [
        Showed("relu", "linear", "mismatch", 2, 1, 1),
        Showed("relu", "bitwise", "no call", 1, 1, 0),
    ]
    for order in permutations(shards):
        assert merged(empty("linear", "bitwise"), order, asked=9).to_json() == told.to_json()


def test_what_only_a_shard_beyond_broke_is_told_without_its_calls():
    right, wrong = shard(0, outcome(calls=9)), shard(2, outcome(z=[1.0], calls=5))
    told = merged(empty(), [wrong, shard(1, outcome(calls=4)), right], asked=9)
    assert told.campaign.shards == [
        JudgedShard(0, seed_of(SEED, 0), 9, verdicts(right.outcomes)),
        JudgedShard(2, seed_of(SEED, 2), 5, verdicts(wrong.outcomes), counted=False),
    ]
    (broken,) = told.outcomes
    assert (broken.status, broken.judged, told.campaign.calls) == ("mismatch", 9, 9)
    assert "listed for what was found there: shard 2" in told.text()
    assert exit_code([told]) == 1


def test_a_campaign_ends_where_no_call_is_judged():
    tally = Tally(empty(), 100)
    tally.take(shard(0, outcome(calls=40)))
    assert not tally.enough
    assert (tally.expects(0), tally.expects(2)) == (40, 120)
    tally.take(shard(2, outcome(calls=0)))
    assert not tally.enough
    tally.take(shard(1, outcome(calls=20)))
    assert tally.enough
    told = tally.certificate()
    assert told.why_not == "only 60 of 100 calls were checked"
    assert (len(told.campaign.counted), exit_code([told])) == (3, 3)


def test_a_shard_that_cannot_be_judged_is_told_of():
    tally = Tally(empty(), 12)
    tally.lose(1, "3 workers ended while they checked it")
    tally.take(shard(0, outcome(calls=7)))
    assert not tally.enough
    assert [tally.knows(n) for n in range(3)] == [True, True, False]
    tally.take(shard(2, outcome(calls=7)))
    told = tally.certificate()
    assert tally.enough
    assert told.campaign.calls == 14
    assert told.why_not == (
        "shard 1 of the campaign could not be checked: 3 workers ended while they checked it"
    )
    assert exit_code([told]) == 3
    assert told.campaign.lost[0].verdicts == ""
    suite = ET.fromstring(junit([told]))[0]  # noqa: S314 - our own
    assert (suite.get("errors"), suite.get("tests")) == ("1", str(len(told.outcomes) + 1))
    (case,) = (one for one in suite if one.get("classname") == "campaign")
    assert case.get("name") == "shard 1"
    assert case[0].get("message").startswith("3 workers ended")
    for number in range(3, 3 + LOST):
        assert not Tally(empty(), 50).enough
        tally.lose(number, "again")
    none = Tally(empty(), 50)
    for number in range(LOST):
        assert not none.enough
        none.lose(number, "gone")
    assert none.enough
    assert none.certificate().outcomes == []
    assert exit_code([none.certificate()]) == 3


def test_what_the_backend_did_anywhere_is_told():
    first = shard(0, outcome(), modules={"a": "1"}, acts={"used the network": ["h"]})
    second = shard(1, outcome(), modules={"b": "2"}, refused=["torch"],
                   acts={"used the network": ["g"], "started processes": ["ls"]})  # fmt: skip
    kept = merged(empty(), [first, second], asked=20).confinement
    assert (kept["modules"], kept["refused"]) == ({"a": "1", "b": "2"}, ["torch"])
    assert kept["acts"] == {"used the network": ["g", "h"], "started processes": ["ls"]}


def test_a_listed_deviation_holds_only_if_it_shows_in_no_shard():
    listed = {"formula": "relu", "property": "linear", "reason": "why", "call": "{}"}
    cases = empty("linear", "bitwise", deviations=[listed])
    held = [shard(n, outcome(), outcome(name="bitwise"), stale=True) for n in range(2)]
    told = merged(cases, held, asked=40)
    assert ["remove it" in one for one in told.stale] == [True]
    deviates = outcome("deviation", deviation="why", drawn="z")
    told = merged(cases, [held[0], shard(1, deviates, outcome(name="bitwise"))], asked=40)
    assert (told.stale, told.verdict) == ([], "CERTIFIED BUT FOR 1 KNOWN DEVIATION")
    assert told.campaign.showed == [Showed("relu", "linear", "deviation", 1, 1, 1)]


def test_a_replayed_shard_contradicts_what_is_not_in_the_certificate():
    parts = [shard(0, outcome(calls=9)), shard(1, outcome(z=[1.0], calls=5))]
    told = merged(empty(), parts, asked=14)
    again = [replace(empty(), outcomes=one.outcomes) for one in parts]
    for one, found in zip(told.campaign.shards, again, strict=True):
        assert contradictions(told, one, found) == []
    assert other_sums(told, parts) == []
    right, wrong = told.campaign.shards
    assert "checked 9 calls" in contradictions(told, right, again[1])[0]
    hidden = replace(told, outcomes=[outcome(calls=14)])
    assert contradictions(hidden, wrong, again[1]) == [
        "relu linear: passed 14 calls; now WRONG (relu[1.0]: wrong)"
    ]
    assert other_sums(hidden, parts) == ["relu linear: passed 14 calls -> WRONG (relu[1.0]: wrong)"]
    fewer = replace(told, outcomes=[replace(told.outcomes[0], calls={"float32": {"free": 8}})])
    assert contradictions(fewer, right, again[0]) == [
        "relu linear: fewer calls than now: 9 of float32, free"
    ]
    without = replace(told, outcomes=[])
    assert "not in the certificate" in contradictions(without, right, again[0])[0]


def test_a_shard_travels_as_plain_data():
    whole = shard(3, outcome(z=[1.0]), outcome("not run", name="bitwise", calls=0), stale=True)
    entry = json.loads(json.dumps(whole.to_entry()))
    assert Shard.from_entry(entry) == whole
    assert set(entry["outcomes"][1]) == {"backend", "formula", "property_name", "reason"}


def test_differences_of_certificates_tell_of_campaigns():
    one = merged(empty(), [shard(0, outcome())], asked=10)
    two = merged(empty(), [shard(0, outcome()), shard(1, outcome())], asked=20)
    assert differences(one, two) == [
        "campaign of 1 shard for 10 calls -> campaign of 2 shards for 20 calls",
        "relu linear: passed 10 calls -> passed 20 calls",
    ]
    assert "one run -> campaign of 1 shard for 10 calls" in differences(empty(), one)


def test_progress_tells_what_is_new():
    from gradoracle.conformance.campaigns.campaign import Progress

    def shown(terminal):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, width=120, color_system=None)
        tally = Tally(empty(), 100)
        with Progress(console, tally) as progress:
            for one in (shard(0, outcome(z=[1.0], calls=7)), shard(1, outcome(z=[2.0], calls=8))):
                progress.update(one, tally.take(one))
            progress.lost(2, "gone")
            for workers in (2, 0, 1):
                progress.look(workers)
        return screen.getvalue()

    lines = shown(terminal=False).splitlines()
    assert lines[0] == "relu breaks linear: relu[1.0]: wrong"
    assert lines[1].startswith("shard 0: 7 calls; 7 of 100, ")
    assert lines[2].startswith("shard 1: 8 calls; 15 of 100, ")
    assert lines[3:] == [
        "shard 2 cannot be checked: gone", "no worker is there: waiting",
        "1 workers are there again",
    ]  # fmt: skip
    told = shown(terminal=True)
    assert "relu breaks linear: relu[1.0]: wrong" in told
    assert ["2", "15", "100"] in [line.split()[:3] for line in told.splitlines()]


# -- the schema -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "of"), [("campaign", Campaign), ("shard", JudgedShard), ("showed", Showed)]
)
def test_every_field_of_a_campaign_is_in_the_schema(name, of):
    assert set(OBJECTS[name]["properties"]) == set(OBJECTS[name]["required"]) == names(of)


@cache
def certified():
    told = gradoracle.check("im2col", operators=["relu"], examples=5, seed=1)
    judged_shard = JudgedShard(0, 7, 20, verdicts(told.outcomes))
    several = replace(told, campaign=Campaign(9, [judged_shard], []))
    return several.to_json()


@pytest.mark.parametrize(
    ("field", "entry"),
    [
        ("shards", {"number": 1, "seed": 2, "calls": 0, "verdicts": "", "lost": ""}),
        ("shards", {"number": 1, "seed": 2, "calls": 0, "verdicts": "", "lost": "gone",
                    "counted": True}),
        ("showed", {"formula": "relu", "property_name": "linear", "status": "blind", "shards": 1,
                    "different": 1, "shard": 0}),
    ],
)  # fmt: skip
def test_what_is_no_certified_campaign_does_not_fit(field, entry):
    whole = json.loads(certified())
    assert whole["certified"]
    VALIDATOR.validate(whole)
    whole["campaign"][field].append(entry)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(whole)


# -- who checks what ------------------------------------------------------------------------------


class Future:
    """A shard that ends as a test says."""

    def __init__(self, number):
        self.number, self.ends = number, None

    def done(self):
        return self.ends is not None

    def result(self):
        if isinstance(self.ends, BaseException):
            raise self.ends
        return json.dumps(self.ends)


class Workers:
    """A client of two workers that check nothing by themselves."""

    def __init__(self):
        self.futures = []

    def nthreads(self):
        return {"a": 1, "b": 4}

    def submit(self, function, work, common, number, seed, *, key, pure):
        assert (function, work, common, seed) == (judged, "work", "{}", seed_of(SEED, number))
        assert key not in {future.key for future in self.futures}
        self.futures.append(Future(number))
        self.futures[-1].key = key
        return self.futures[-1]

    def who_has(self, futures):
        return {future.key: ("tcp://a:1",) for future in futures}

    @property
    def flying(self):
        return [one.number for one in self.futures if not one.done()]


@pytest.fixture
def crew(monkeypatch):
    from gradoracle.conformance.campaigns import campaign

    monkeypatch.setattr(campaign, "wait", lambda *arguments, **options: None)
    crew = campaign._Crew(Workers(), "work", "{}", Tally(empty(), 100))

    def end(*numbers, how=None):
        for future in crew.client.futures:
            if future.number in numbers and not future.done():
                future.ends = how or shard(future.number, outcome(calls=10)).to_entry()
        ended = [*crew.ended()]
        for number, told in ended:
            if "lost" in told:
                crew.tally.lose(number, told["lost"])
            else:
                crew.tally.take(Shard.from_entry(told))
        crew.begin()
        return [number for number, _ in ended]

    crew.end = end
    crew.begin()
    return crew


def killed():
    from distributed import KilledWorker

    return KilledWorker("a task", None, 3)


def test_workers_have_one_more_shard_than_they_judge_and_no_more_than_count(crew):
    assert crew.client.flying == [0, 1]
    assert crew.end(1) == [1]
    assert crew.client.flying == [0, 2, 3, 4]
    assert crew.end(0, 2, 3, 4) == [0, 2, 3, 4]
    assert crew.client.flying == [5, 6, 7, 8]
    crew.end(5, 8)
    assert crew.client.flying == [6, 7, 9]  # the tenth is expected to be the last
    crew.end(6, 7, 9)
    assert crew.tally.enough
    assert not crew.begin()


def test_a_shard_is_not_blamed_for_the_company_it_was_in(crew):
    crew.end(0)
    assert crew.client.flying == [1, 2, 3, 4]
    assert crew.end(2, 3, how=killed()) == []
    assert crew.client.flying == [1, 4]  # nothing is begun until they are done
    crew.end(1, 4)
    assert crew.client.flying == [2]
    assert crew.end(2, how=killed()) == [2]
    assert crew.client.flying == [3]
    assert crew.end(3) == [3]
    assert crew.tally.losses == 1
    told = replace(crew.tally.certificate(), expected=[]).campaign
    assert [one.lost for one in told.lost] == ["4 workers ended while they checked it"]
    assert crew.client.flying[:2] == [5, 6]


def test_a_shard_that_fails_is_tried_once_more(crew):
    assert crew.end(0, 1, how={"lost": "MemoryError"}) == []
    assert crew.client.flying == [0]
    assert crew.end(0) == [0]
    assert crew.end(1, how={"lost": "MemoryError"}) == [1]
    assert crew.tally.losses == 1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"refused": "its suite is x, not y"}, "tcp://a:1 checks something else: its suite is x"),
        (ModuleNotFoundError("No module named 'conformance'"), "cannot run this gradoracle"),
        (OSError("no route"), "the cluster is gone: OSError: no route"),
        (CancelledError("a task"), "the cluster is gone: "),
    ],
)
def test_a_cluster_that_cannot_go_on_is_told_of(crew, how, said):
    from gradoracle.conformance.campaigns.shards import CampaignError

    with pytest.raises(CampaignError, match=said):
        crew.end(0, how=how)


def test_a_scheduler_without_workers_is_told_how_to_get_some(monkeypatch):
    from gradoracle.conformance.campaigns import campaign

    class Idle:
        def __init__(self, address, timeout):
            assert 0 < timeout < 60

        def wait_for_workers(self, count, timeout):
            assert count == 1
            assert 0 < timeout < 60
            raise TimeoutError

        def close(self):
            closed.append(True)

    closed = []
    monkeypatch.setattr(campaign, "Client", Idle)
    said = "has no worker: start some with  dask worker tcp://h:1 --nthreads 1"
    with pytest.raises(campaign.CampaignError, match=said):
        campaign._connected("tcp://h:1")
    assert closed


# -- workers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign")
    (folder / "wrong.py").write_text(WRONG)
    (folder / "slow.py").write_text(SLOW)
    (folder / "kills.py").write_text(KILLS)
    (folder / "nothing.py").write_text("")
    (folder / "dies.py").write_text("import os\nos.abort()\n")
    (folder / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')\n")
    return folder


def environment(folder, suite=ROOT):
    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR")}
    return {**kept, "PYTHONPATH": f"{folder}{os.pathsep}{suite}", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def cluster(folder):
    """The address of a scheduler with two workers."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], cwd=folder, env=environment(folder), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield process.stdout.readline().strip()
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.fixture
def cli(folder):
    before, started = ours(), []

    def start(*arguments, stub=None, **more):
        variables = environment(folder)
        if stub is not None:
            variables["PYTHONPATH"] = f"{stub}{os.pathsep}{variables['PYTHONPATH']}"
        process = subprocess.Popen(
            [sys.executable, "-m", "gradoracle", *map(str, arguments)], cwd=folder,
            env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
        )  # fmt: skip
        started.append(process)
        return process

    def run(*arguments, **more):
        return ended(start(*arguments, **more))

    run.start = start
    yield run
    for process in started:
        if process.poll() is None:  # the test failed
            process.kill()
            process.communicate()
    deadline = time.monotonic() + 8
    while ours() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not ours() - before


def ended(process):
    process.out, process.err = process.communicate(timeout=120)
    assert "Traceback" not in process.err, process.err
    return process


def content(file):
    """A certificate without what differs from run to run."""
    told = json.loads(Path(file).read_text())
    for one in told["outcomes"]:
        del one["seconds"]
    del told["sha256"]
    return told


def command(*arguments):
    """A command that asks no worker, in this process."""
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


def lines_of(journal):
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(folder, cluster):
    """A campaign that nothing happened to, on the workers of a scheduler by its address."""
    run = subprocess.run(
        [sys.executable, "-m", "gradoracle", "campaign", "slow", *map(str, QUICK), "--calls",
         str(CALLS), "--scheduler", cluster, "--certificate", "whole.json", "--journal", "w.jsonl"],
        cwd=folder, env=environment(folder), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    certificate = content(folder / "whole.json")
    shards = len(certificate["campaign"]["shards"])
    assert f"campaign of {shards} shards for {CALLS} calls" in run.stdout
    assert shards > 2
    return certificate


def test_every_shard_is_a_certification_from_its_own_seed(folder, whole, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", environment(folder)["PYTHONPATH"])
    VALIDATOR.validate(json.loads((folder / "whole.json").read_text()))
    shards = whole["campaign"]["shards"]
    assert [one["seed"] for one in shards] == [seed_of(SEED, n) for n in range(len(shards))]
    assert sum(one["calls"] for one in shards) >= CALLS > sum(o["calls"] for o in shards[:-1])
    header, entries = entries_of(folder / "w.jsonl", "gradoracle campaign 2", dict)
    entries = {entry["number"]: Shard.from_entry(entry) for entry in entries}
    assert (header["seed"], {*entries} >= {*range(len(shards))}) == (SEED, True)
    first = gradoracle.check("slow", operators=["relu"], examples=25, seed=shards[1]["seed"])
    there = {(o.formula, o.property_name): o for o in entries[1].outcomes}
    here = [o for o in first.outcomes if o.property_name != "matches_torch"]  # PyTorch is here
    assert len(here) > 5
    assert verdicts(there[o.formula, o.property_name] for o in here) == verdicts(here)
    assert verdicts(entries[1].outcomes) == shards[1]["verdicts"]


def test_a_worker_that_is_killed_costs_its_shard_only(cli, folder, whole):
    journal, imports = folder / ".gradoracle" / "slow.campaign.jsonl", folder / "imports"
    imports.write_text("")
    process = cli.start(
        "campaign", "slow", *QUICK, "--calls", CALLS, "-j", 2, "--certificate", "killed.json"
    )
    wait_for(lambda: lines_of(journal) > 1, process)
    begun = imports.read_text().split()
    victim = int(begun[-1])  # it loaded the backend last: it checks
    assert victim in descendants(process.pid, set())
    os.kill(victim, signal.SIGKILL)
    assert ended(process).returncode == 0
    assert content(folder / "killed.json") == whole
    _, entries = entries_of(journal, "gradoracle campaign 2", dict)
    numbers = [entry["number"] for entry in entries]
    assert len({*numbers}) == len(numbers) >= len(whole["campaign"]["shards"])
    after = imports.read_text().split()
    # One look at what the backend claims, each shard once, and those that were lost again.
    repeated = len(after) - 1 - len(numbers)
    assert 1 <= repeated <= 3
    assert after.count(str(victim)) == begun.count(str(victim))
    assert not {*after[len(begun) :]} & {str(victim)}


def test_a_campaign_goes_on_after_an_interrupt_and_after_a_kill(cli, folder, whole):
    journal = folder / "kept" / "j.jsonl"
    campaign = ("campaign", "slow", *QUICK, "--calls", CALLS, "-j", 1, "--journal", journal)
    process = cli.start(*campaign, start_new_session=True)
    wait_for(lambda: lines_of(journal) > 1, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    stopped = ended(process)
    assert stopped.returncode == 130, stopped.out
    assert stopped.err == f"stopped; {journal} has what was checked: --resume goes on\n"
    text = journal.read_bytes()
    process = cli.start(*campaign, "--resume")
    wait_for(lambda: lines_of(journal) > text.count(b"\n"), process)
    # A worker, the guardian of its backend, that one, and Python's own tracker of resources.
    wait_for(lambda: len(descendants(process.pid, set())) > 3, process)
    family = {process.pid, *descendants(process.pid, set())}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 8
    while ours() & family and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not ours() & family
    kept, shards = journal.read_bytes(), lines_of(journal) - 1
    assert kept.startswith(text)
    journal.write_bytes(kept + b'{"number": 7, "see')  # what a kill cuts short
    last = cli(*campaign, "--resume", "--certificate", "resumed.json")
    assert f"going on after {shards} shards, seed {SEED}" in last.out
    assert (last.returncode, content(folder / "resumed.json")) == (0, whole)


def test_a_campaign_goes_on_with_more_calls_and_no_other_change(cli, folder, cluster, whole):
    journal = folder / "more.jsonl"
    journal.write_bytes((folder / "w.jsonl").read_bytes())
    campaign = ("campaign", "slow", "--scheduler", cluster, "--journal", journal, "--resume")
    relu = (*campaign, "--operators", "relu", "--profile", "quick")
    more = cli(*relu, "--calls", CALLS + 100, "--certificate", "more.json")
    assert more.returncode == 0, more.err
    shards = content(folder / "more.json")["campaign"]["shards"]
    assert len(shards) > len(whole["campaign"]["shards"])
    assert shards[: len(whole["campaign"]["shards"])] == whole["campaign"]["shards"]
    text = journal.read_bytes()
    for arguments, said in (
        ((*relu, "--seed", SEED + 1), f"has seed {SEED}, not {SEED + 1}"),
        ((*campaign, "--operators", "relu"), "its examples was 25, now it is 300"),
    ):
        other = cli(*arguments, "--calls", CALLS)
        assert (other.returncode, said in other.err) == (2, True), other.err
    assert journal.read_bytes() == text  # who may not go on changes nothing
    journal.write_text("nonsense\n")
    assert "is no journal" in cli(*relu, "--calls", CALLS).err


def test_workers_elsewhere_stay_in_the_domain_and_forget_it(cli, folder, cluster):
    one = ("campaign", "im2col", *QUICK, "--calls", 30, "--scheduler", cluster)
    run = cli(*one, "--domain", "relu: n = 1", "--certificate", "in.json", "--journal", "i.jsonl")
    assert "for relu, relu_grad: n = 1" in " ".join(run.out.split())
    told = json.loads((folder / "in.json").read_text())
    assert told["environment"]["restricted to"] == "relu: n = 1"
    cli(*one, "--certificate", "all.json", "--journal", "a.jsonl")
    assert "restricted to" not in json.loads((folder / "all.json").read_text())["environment"]


def test_counterexamples_of_all_shards_are_one(cli, folder, cluster, monkeypatch):
    run = cli("campaign", "wrong", *QUICK, "--calls", 600, "--scheduler", cluster,
                     "--certificate", "c.json", "--junit", "j.xml", "--github")  # fmt: skip
    assert run.returncode == 1, run.err
    told = json.loads((folder / "c.json").read_text())
    VALIDATOR.validate(told)
    certificate = Certificate.from_json((folder / "c.json").read_text())
    assert json.loads(certificate.to_json()) == told
    broken = [(one.formula, one.property_name) for one in certificate.mismatches]
    assert ("relu_grad", "matches_oracle") in broken
    assert len({*broken}) == len(broken)
    (showed,) = [s for s in certificate.campaign.showed if s.property_name == "matches_oracle"]
    count = len(certificate.campaign.counted)
    assert showed.shards == count > 1
    assert f"mismatch of relu_grad, of {count} shards: matches_oracle in {count}" in run.out
    assert run.out.count("relu_grad breaks matches_oracle:") == 1  # as it falls
    assert run.out.count(",title=relu_grad of wrong breaks matches_oracle::") == 1
    (smallest,) = [o for o in certificate.outcomes if o.property_name == "matches_oracle"
                   and o.status == "mismatch"]  # fmt: skip
    assert math.prod(smallest.mismatch["arguments"]["z"]["shape"]) == 4
    own = certificate.campaign.shards[showed.shard].seed
    assert f"--seed {own} " in smallest.mismatch["repro"]
    assert "STILL there" in cli("replay", "c.json", 1).out
    same = cli("verify", "c.json")
    assert (same.returncode, ", picked at random" in same.out) == (0, True), same.out
    assert "wrong: the same verdicts as c.json has" in same.out
    every = cli("verify", "c.json", "--shard", "all")
    assert (every.returncode, every.out.count("replaying shard")) == (0, count)
    outcomes = [{**o, "status": "passed", "reason": "", "mismatch": None}
                for o in told["outcomes"]]  # fmt: skip
    forged = {n: v for n, v in {**told, "outcomes": outcomes}.items() if n != "sha256"}
    (folder / "f.json").write_text(json.dumps({**forged, "sha256": digest(forged)}))
    lied = cli("verify", "f.json", "--shard", 0)
    assert lied.returncode == 1
    assert "relu_grad matches_oracle: passed" in lied.out
    monkeypatch.syspath_prepend(str(folder))
    diff = command("diff", folder / "c.json", folder / "f.json")
    assert (diff.exit_code, "relu_grad matches_oracle: WRONG" in diff.output) == (1, True)
    missing = command("verify", folder / "c.json", "--shard", 99)
    assert (missing.exit_code, "no shard '99' was checked" in missing.output) == (2, True)
    one = replace(certificate, campaign=None)
    (folder / "one.json").write_text(one.to_json())
    none = command("verify", folder / "one.json", "--shard", 1)
    assert (none.exit_code, "not of a campaign: it has no shards" in none.output) == (2, True)


def test_a_shard_that_ends_every_worker_is_told_of(cli, folder):
    armed = folder / "armed"
    armed.write_text("6")  # as often as one shard is tried
    run = cli("campaign", "kills", *QUICK, "--calls", 120, "-j", 1,
                     "--certificate", "k.json")  # fmt: skip
    assert (run.returncode, armed.read_text()) == (3, "0"), run.out
    told = json.loads((folder / "k.json").read_text())
    VALIDATOR.validate(told)
    lost, *rest = told["campaign"]["shards"]
    assert lost["lost"] == "3 workers ended while they checked it"
    assert (lost["calls"], lost["verdicts"]) == (0, "")
    assert sum(one["calls"] for one in rest) >= 120
    assert "shard 0 of the campaign could not be checked: 3 workers ended" in told["why_not"]
    assert not [o for o in told["outcomes"] if o["status"] == "mismatch"]


# -- what cannot be run ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("im2cool", "--calls", 9), 2, "no backend 'im2cool' (did you mean 'im2col'?)"),
        (("slow", "--calls", 9, "--dtypes", "int8"), 2, "does not claim dtype 'int8'; it claims"),
        (("slow", "--calls", 9, "--resume"), 2, "no journal can be read at"),
        (("dies", "--calls", 9), 3, "cannot be loaded: crashed: abort (SIGABRT)"),
        (("nothing", "--calls", 9), 3, "the backend claims no function of the protocol"),
    ],
)
def test_what_a_worker_finds_wrong_is_said(cli, cluster, arguments, code, said):
    run = cli("campaign", *arguments, *QUICK, "--scheduler", cluster, "--journal", "n.jsonl")
    assert (run.returncode, said in run.out + run.err) == (code, True), (run.out, run.err)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("slow",), 2, "Missing option '--calls'"),
        (("slow", "--calls", 0), 2, "'--calls'"),
        (("slow", "--calls", 9, "--jobs", 0), 2, "'--jobs'"),
        (("slow", "--calls", 9, "--profile", "hard"), 2, "no profile 'hard'; there are quick"),
        (
            ("slow", "--calls", 9, "--operators", "conv9d"),
            2,
            "no operator 'conv9d' (did you mean 'conv",
        ),
        (("slow", "--calls", 9, "--memory", "0"), 2, "must be above 0"),
        (("slow", "--calls", 9, "-j", 2, "--scheduler", "tcp://h:1"), 2, "goes without"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(arguments, code, said):
    run = command("campaign", *arguments)
    assert (run.exit_code, said in run.output) == (code, True), run.output


@pytest.mark.parametrize("address", ["nonsense://", "tcp://127.0.0.1:9"])
def test_a_scheduler_that_does_not_answer_is_not_waited_for(cli, address):
    start = time.monotonic()
    run = cli("campaign", "slow", "--calls", 9, "--scheduler", address)
    assert run.returncode == 3
    assert f"no Dask scheduler answers at {address}: " in run.err
    assert time.monotonic() - start < 60


def test_a_missing_extra_is_named(cli, tmp_path):
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('no distributed')\n")
    run = cli("campaign", "slow", "--calls", 9, stub=tmp_path)
    assert run.returncode == 3
    assert "pip install 'gradoracle[campaign]'" in run.err
    assert len(run.err.splitlines()) == 1


def test_help_needs_no_cluster_and_shows_how(cli, tmp_path):
    (tmp_path / "distributed.py").write_text("raise SystemExit('imported')\n")
    run = cli("campaign", "--help", stub=tmp_path)
    assert run.returncode == 0
    assert "gradoracle campaign im2col --calls 1000000" in run.out


def work(name, **more):
    limits = asdict(ISOLATED.limits)
    order = Work(name, ["relu"], None, 1, at_scale=False, limits=limits, forbidden=[], domain="")
    return json.dumps(asdict(replace(order, **more)))


def test_a_worker_judges_nothing_else_than_the_others():
    order = work("tests.misbehaving:takes_arrays_as_they_are")
    common = json.loads(surveyed(order))["settled"]
    whole = json.loads(judged(order, json.dumps(common), 2, 7))
    assert (whole["number"], whole["seed"], len(whole["outcomes"]) > 5) == (2, 7, True)
    for change, said in (
        ({"suite": "0" * 64}, "its suite is "),
        ({"environment": {**common["environment"], "NumPy": "0"}}, "its environment is NumPy "),
        ({"files": {}}, "its files is "),
    ):
        told = json.loads(judged(order, json.dumps({**common, **change}), 2, 7))
        assert [*told] == ["refused"]
        assert told["refused"].startswith(said)
    told = json.loads(judged(work("im2cool"), json.dumps(common), 2, 7))
    assert told["lost"].startswith("UnknownBackend: no backend 'im2cool'")


@contextmanager
def more_workers(folder, suite, address):
    with subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1",
         "--no-dashboard", "--name", "other"],
        cwd=folder, env=environment(folder, suite), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for line in process.stderr:
            if "Registered to" in line:
                break
        yield
        process.terminate()
        process.stderr.read()


def test_a_worker_with_another_suite_is_refused(cli, folder, cluster, tmp_path):
    import shutil

    package = tmp_path / "gradoracle"  # with what is compiled, which takes a minute to make
    shutil.copytree(ROOT / "conformance" / "public", package)
    for name in ("conformance", "oracle", "implementations"):
        shutil.copytree(ROOT / name, package / name)
    with (package / "conformance" / "seeds.py").open("w") as file:
        file.write("CHANGED = True\n")
    with more_workers(folder, tmp_path, cluster):
        run = cli("campaign", "slow", *QUICK, "--calls", 5 * CALLS, "--scheduler", cluster,
                         "--journal", "o.jsonl")  # fmt: skip
    assert run.returncode == 3, run.out
    assert "checks something else: its suite is" in run.err or "another gradoracle" in run.err
