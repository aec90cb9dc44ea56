"""Whatever bytes a worker sends, the suite takes little memory for them and says what came."""

import os
import re
import resource
import socket
import struct
from copy import deepcopy
from dataclasses import replace

import msgpack
import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.caller import Request
from gradoracle.conformance.backends.isolation.isolated import Isolated, Unloadable
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.isolation.wire import Garbled, Line, Segment
from gradoracle.conformance.backends.isolation.workers import Worker, Workers, memory
from gradoracle.conformance.backends.registry import IN_PROCESS, Confinement

LIMITS = Limits(call=5, first=20, start=20, memory=2**29, processes=32)
ONE = np.ones((1, 3, 2, 2), np.float32)
MUTATIONS = 400  # of each kind; 10000 were tried once
MISCHIEF = (
    None, True, -1, 0, 1, 2**31, 2**40, 2**63, -(2**63), 1e308, float("nan"), "", "answer", b"raw",
    "\x00", "x" * 2000, [], {}, [[]], [None] * 100, {"a": {"b": [1]}}, msgpack.ExtType(5, b"1"),
    msgpack.Timestamp(1), "|S999999999", "|V999999999", "|O", "<M8[s]", "<f4", "<c32", "<f99",
    "bfloat16", "<f4,<f4", "T16", [2**39, 2**39], [-1], [1.0], [1] * 65, [0, 2**39], [2**27],
)  # fmt: skip


class NoProcesses(Workers):
    """Workers that are this process."""

    def start(self, opening):
        del opening
        ours, self.theirs = socket.socketpair()
        ours.settimeout(0.02)
        worker = Worker(next(self.numbers), Line(ours), Segment(memory(1 << 16)))
        self.running[worker.number] = worker
        return worker

    def kill(self, worker):
        worker.ended = {"code": 0, "output": ""}


class Forged(Isolated):
    """A backend whose worker is this process: `say` gives the bytes that answer a message."""

    say = staticmethod(lambda number: b"")
    alone = False  # nothing is asked of it
    _workers_class = NoProcesses

    def _start(self):
        worker = super()._start()
        self._say(worker.number)
        return worker

    def _dispatch(self, worker, requests):
        super()._dispatch(worker, requests)
        self._say(worker.number + 1)

    def _say(self, number):
        self._workers.theirs.sendall(self.say(number))
        if number > 1 or self.alone:
            self._workers.theirs.close()


def framed(message):
    content = msgpack.packb(message)
    return struct.pack("<I", len(content)) + content


def described(number):
    told = {"functions": ["relu"], "contract": None, "from_numpy": False, "to_numpy": False}
    return {"n": number, "description": told}


def answered(number):
    return {"n": number, "kind": "answer", "arrays": [["<f4", [1, 3, 2, 2], 0]], "shares": -1}


def paths(value, path=()):
    """Yield where something is in a message."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        yield (*path, key)
        if isinstance(one, (dict, list)):
            yield from paths(one, (*path, key))


def mutated(message, random):
    """Return the bytes of a message of which one to three parts, or some bytes, are others."""
    for _ in range(random.integers(0, 4)):
        places = [*paths(message)]
        *above, last = places[random.integers(len(places))]
        holder = message
        for key in above:
            holder = holder[key]
        if random.random() < 0.15:
            del holder[last]
        else:
            holder[last] = deepcopy(MISCHIEF[random.integers(len(MISCHIEF))])
        if not message:
            break
    whole = bytearray(framed(message))
    how = random.random()
    if how < 0.3:
        for _ in range(random.integers(1, 4)):
            whole[random.integers(len(whole))] = random.integers(256)
    elif how < 0.4:
        del whole[random.integers(len(whole)) :]
    elif how < 0.5:
        whole[:4] = struct.pack("<I", random.choice([0, 3, len(whole), 2**20, 2**32 - 1]))
    elif how < 0.55:
        depth = int(random.integers(1, 100_000))
        whole = bytearray(struct.pack("<I", depth + 1) + b"\x91" * depth + b"\xc0")
    return bytes(whole)


def largest():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("part", ["description", "reply"])
def test_no_bytes_of_a_worker_end_in_a_traceback_or_take_memory(part):
    random, before, kinds = np.random.default_rng(20261128), largest(), set()
    for _ in range(MUTATIONS):
        backend = Forged("forged", FUNCTIONS, LIMITS)

        def say(number):
            message = described(number) if number == 1 else answered(number)
            forged = number == (1 if part == "description" else 2)
            return mutated(message, random) if forged else framed(message)

        backend.say = say
        backend.alone = part == "description"
        try:
            kinds.add(backend.description is None)
        except Unloadable as error:
            kinds.add("one line" if "\n" not in str(error) else str(error))
        if backend.alone:
            continue
        reply = backend.perform(Request("relu", [ONE], {}))
        kinds.add(reply.kind)
        assert reply.kind == "crashed" or len(reply.arrays) <= 1
        if reply.kind == "crashed":
            assert "\n" not in reply.text
        backend.close()
    assert largest() - before < 2**27
    wanted = {False, "one line"} if part == "description" else {False, "answer", "crashed"}
    assert wanted <= kinds <= wanted | {"declined", "raised"}


@pytest.mark.parametrize(
    ("name", "shape", "start", "said"),
    [
        ("|S999999999", [2], 0, "no dtype of numbers: '|S999999999'"),
        ("|V999999999", [2], 0, "no dtype of numbers"),
        ("|O", [2], 0, "no dtype of numbers"),
        ("<M8[s]", [2], 0, "no dtype of numbers"),
        ("<f4", [2**30], 0, "an array of 4294967296 bytes"),
        ("<f4", [2**39, 2**39], 0, "an array of"),
        ("<f4", [2**20], 0, "no place that arrays have"),
        ("<f4", [1], 2**39, "no place that arrays have"),
        ("<f4", [1], -4, "no place that arrays have"),
        ("<f4", [-1], 0, "no shape that arrays have"),
        ("<f4", [0, 2**39, 2**39], 0, "no place that arrays have"),
        ("<f4", [1.0], 0, "no shape that arrays have"),
        ("<f4", [True], 0, "no shape that arrays have"),
    ],
)
def test_an_array_that_cannot_be_there_takes_nothing(name, shape, start, said):
    segment = Segment(memory(1 << 16))
    with pytest.raises(Garbled, match=said.replace("|", r"\|")):
        segment.read([[name, shape, start]], 1, 2**28)
    assert os.fstat(segment.descriptor).st_size == 1 << 16
    segment.close()


def test_the_bytes_of_all_arrays_of_a_reply_are_limited_together():
    segment = Segment(memory(1 << 16))
    place = ["<f4", [100], 0]
    assert len(segment.read([place] * 3, 3, 1200)) == 3
    with pytest.raises(Garbled, match="an array of 400 bytes"):
        segment.read([place] * 3, 3, 1199)
    with pytest.raises(Garbled, match="not as many arrays as were asked for, which is 1"):
        segment.read([place] * 1000, 1, 1200)


FORGERIES = {
    "forges_the_size_of_an_element": r"no dtype of numbers: '\|S999999999'",
    "forges_a_large_array": "an array of 536870912 bytes",
    "forges_a_thousand_arrays": "not as many arrays as were asked for, which is 1",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_reply_is_a_mismatch_and_takes_less_than_the_limit(name):
    before = largest()
    certificate = gradoracle.check(
        f"tests.misbehaving:{name}", operators=["relu"], examples=5, seed=1,
        confinement=Confinement(limits=LIMITS), stop_at_first_mismatch=True,
    )  # fmt: skip
    (found,) = certificate.mismatches
    assert "something else than answers is on the suite's line" in found.headline
    assert FORGERIES[name].replace("\\", "") in found.headline
    assert largest() - before < LIMITS.memory // 2


@pytest.mark.parametrize("confinement", [IN_PROCESS, Confinement(limits=LIMITS)])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("returns_long_strings", r"\(|S99999\[2\]\), want a NumPy array of numbers"),
        ("returns_records", r"want a NumPy array of numbers"),
        ("returns_objects", r"\(object\[1\]\), want a NumPy array of numbers"),
        ("returns_wide_numbers", r"returned 402653184 bytes \(complex128\[25165824\]\)"),
    ],
)
def test_an_answer_of_odd_elements_says_what_came(name, said, confinement):
    before = largest()
    certificate = gradoracle.check(
        f"tests.misbehaving:{name}", operators=["relu"], examples=5, seed=1,
        confinement=confinement, stop_at_first_mismatch=True,
    )  # fmt: skip
    (found,) = certificate.mismatches
    assert pytest.approx(largest(), abs=2**27) == before or confinement is IN_PROCESS
    assert re.search(said, found.headline), found.headline


def test_a_worker_that_does_not_understand_a_request_ends_and_the_next_one_answers():
    backend = Isolated("tests.misbehaving:adds_up", FUNCTIONS, LIMITS)
    request = Request("conv2d_grad_bias", [ONE], {})
    assert backend.perform(request).kind == "answer"
    for mischief in ([], ["relu"], [1, 2, 3, 4, 5, 6, 7], {"a": 1}, None):
        worker = backend._worker
        number = next(backend._workers.numbers)
        worker.line.send({"do": "call", "n": number, "calls": [mischief], "top": 0})
        reply = backend.perform(replace(request))
        assert reply.kind in ("answer", "crashed"), reply
        if reply.kind == "crashed":
            assert "exit status 1; it wrote" in reply.text or "suite's line" in reply.text
        assert backend.perform(replace(request)).arrays[0].tolist() == [4, 4, 4]
    backend.close()
