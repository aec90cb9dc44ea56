"""What gathers evidence on a GPU, as far as a machine without one can tell.

Every result here is made up, and lies in a temporary folder only.
"""

import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.operators.network_layers import NETWORKS, Layer, layers
from gradoracle.implementations import hostcuda, im2col
from tests.faults import CUDA, FAULTS
from tests.gpu import benchmark as bench
from tests.gpu import certify as certification
from tests.gpu import evidence, launch, machine, processes, rounding, sanitize, sanitizer, table
from tests.gpu.benchmark import CUDNN, OURS
from tests.gpu.budget import SHARES, Budget
from tests.gpu.layers import (
    DIRECTIONS,
    input_shape,
    macs,
    most_terms,
    output_shape,
    side,
    weight_shape,
)
from tests.gpu.processes import ROOT, Ended

pytestmark = pytest.mark.slow


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


# -- what compute-sanitizer writes, in the format of its documentation and of public logs ----------


def said(name):
    return (CUDA / "said" / f"{name}.txt").read_text(encoding="utf-8")


OUT_OF_BOUNDS, MISALIGNED, RACE, HAZARD = map(
    said, ("out_of_bounds", "misaligned", "race", "hazard")
)
UNINITIALISED, DIVERGENT, REFUSED = map(said, ("uninitialised", "divergent", "refused"))
MASK = said("mask")
CLEAN, NO_RACE, NOT_SUPPORTED = map(said, ("clean", "no_race", "not_supported"))


def test_an_access_out_of_bounds_is_read():
    report = sanitizer.parsed(OUT_OF_BOUNDS)
    (said,) = report.findings
    assert said.title == "Invalid __global__ write of size 4 bytes"
    assert (said.places, said.count) == ([("faults.cu", 11)], 1)
    assert "by thread (0,0,0) in block (1,0,0)" in said.detail
    assert "1 bytes after the nearest allocation" in said.detail
    assert "Host Frame" not in said.detail
    assert [one.title.rpartition(" ")[2] for one in report.api] == [
        "cuGetProcAddress_v2.", "cudaDeviceSynchronize.",
    ]  # fmt: skip
    assert (report.summary, report.errors) == ("ERROR SUMMARY: 3 errors", 3)


@pytest.mark.parametrize(
    ("output", "title", "lines", "errors"),
    [
        (MISALIGNED, "Invalid __global__ read of size 16 bytes", [123], 1),
        (RACE, "Error: Race reported between Write access at", [51, 52, 52], 1),
        (HAZARD, "WARN:(Warp Level Programming) Potential RAW hazard", [71, 73], 2),
        (UNINITIALISED, "Uninitialized __global__ memory read of size 4 bytes", [7], 1002),
        (DIVERGENT, "Barrier error detected. Divergent thread(s) in block.", [106, 106], 3),
    ],
)
def test_what_each_tool_says_is_read(output, title, lines, errors):
    report = sanitizer.parsed(output)
    assert report.findings[0].title.startswith(title)
    assert [line for _, line in report.findings[0].places] == lines
    assert report.errors == errors
    assert not report.trouble


def test_findings_of_the_same_words_and_line_are_counted():
    assert [(one.places[0][1], one.count) for one in sanitizer.parsed(DIVERGENT).findings] == [
        (106, 2), (108, 1),
    ]  # fmt: skip


def test_a_line_of_a_header_is_not_the_kernels():
    fault = FAULTS["a_mask_without_oneself"]
    report = sanitizer.parsed(MASK)
    assert report.findings[0].places == [("builtins.h", 110), ("faults.cu", fault.line)]
    assert sanitizer.verdict(row_of(fault.name), {"synccheck": report}, fault.line)[0] == (
        sanitizer.AGREES
    )


def test_the_programs_own_output_is_no_finding():
    report = sanitizer.parsed(CLEAN.format("Invalid __global__ write of size 4 bytes"))
    assert (report.findings, report.summary) == ([], "ERROR SUMMARY: 0 errors")


def test_a_sanitizer_that_cannot_look_says_why():
    report = sanitizer.parsed(NOT_SUPPORTED)
    assert not report.summary
    assert "Device not supported" in report.trouble[0]
    assert sanitizer.cleanliness(report)[0] == sanitizer.NO_VERDICT


# -- the verdicts ----------------------------------------------------------------------------------


def row_of(name):
    fault = FAULTS[name]
    return sanitizer.row_of(fault.kind, fault.words, shared=fault.shared)


def test_the_table_says_of_every_planted_fault_who_looks_for_it():
    found = {name: row_of(name).tool for name in FAULTS}
    assert found["no_barrier_before_writing_again"] == "racecheck"
    assert found["two_blocks_write_one_element"] is None
    assert found["a_mask_without_oneself"] == "synccheck"
    assert found["shared_memory_that_nobody_writes"] is None
    tools = list(found.values())
    assert [tools.count(tool) for tool in (*sanitizer.TOOLS, None)] == [5, 3, 0, 4, 8]
    for row in sanitizer.LOOKED_FOR:
        assert row.tool in (*sanitizer.TOOLS, None)
        assert row.title
    with pytest.raises(LookupError, match="'bad luck'"):
        sanitizer.row_of("bad luck", "", shared=False)


@pytest.mark.parametrize(
    ("name", "output", "verdict"),
    [
        ("one_past_the_end", OUT_OF_BOUNDS, sanitizer.AGREES),
        ("one_before_the_start", OUT_OF_BOUNDS, sanitizer.OTHER_LINE),
        ("a_vector_at_a_float_address", MISALIGNED, sanitizer.AGREES),
        ("no_barrier_before_reading", RACE, sanitizer.AGREES),
        ("a_warp_without_syncwarp", HAZARD, sanitizer.AGREES),
        ("a_barrier_in_each_branch", DIVERGENT, sanitizer.AGREES),
        ("more_threads_than_the_bounds_allow", REFUSED, sanitizer.AGREES),
        ("more_threads_than_the_bounds_allow", CLEAN, sanitizer.SILENT),
        ("a_barrier_in_each_branch", CLEAN, sanitizer.SILENT),
        ("no_barrier_before_reading", NO_RACE, sanitizer.SILENT),
        ("half_the_block_at_a_barrier", NOT_SUPPORTED, sanitizer.NO_VERDICT),
        ("half_the_block_at_a_barrier", "", sanitizer.NO_VERDICT),
    ],
)
def test_a_tool_and_hostcuda_are_compared(name, output, verdict):
    row = row_of(name)
    told, words = sanitizer.verdict(row, {row.tool: sanitizer.parsed(output)}, FAULTS[name].line)
    assert told == verdict, words
    assert words


def test_what_nobody_looks_for_is_told_so_and_what_is_told_of_it_too():
    row = row_of("who_comes_first")
    clean = {"memcheck": sanitizer.parsed(CLEAN)}
    assert sanitizer.verdict(row, clean, 0) == (sanitizer.NOBODY, row.title)
    told, words = sanitizer.verdict(row, {"racecheck": sanitizer.parsed(RACE)}, 0)
    assert told == sanitizer.MORE
    assert "Race reported" in words


def test_without_a_report_of_the_tool_there_is_no_verdict():
    assert sanitizer.verdict(row_of("one_past_the_end"), {}, 11)[0] == sanitizer.NO_VERDICT


# -- the stage `sanitize` --------------------------------------------------------------------------


class Sanitizers:
    """Stands in for the processes: each fault as its tool would tell it, some only with -G."""

    def __init__(self, clock=None, dumb=(), dead=()):
        self.clock, self.dumb, self.dead, self.commands = clock, dumb, dead, []

    def __call__(self, command, seconds, **variables):
        self.commands.append([str(part) for part in command])
        if self.clock is not None:
            self.clock.now += 1
        if "--version" in command:
            return Ended(0, "NVIDIA (R) Compute Sanitizer\nVersion 2025.3.0\n", 0.1)
        tool = command[command.index("--tool") + 1]
        subject, option = command[-2:]
        if subject in self.dead:
            return Ended(None, "", seconds)
        fault = FAULTS.get(subject)
        done = launch.DONE.format(subject) + "\n"
        if fault is None or row_of(subject).tool != tool or (subject, option) in self.dumb:
            return Ended(0, done + (NO_RACE if tool == "racecheck" else CLEAN), 1.0)
        texts = {"memcheck": MISALIGNED, "racecheck": HAZARD, "synccheck": DIVERGENT}
        text = REFUSED if fault.kind == "launch" else texts[tool]
        return Ended(1, text, 1.0)


def sanitized(sanitizers, budget=None):
    noted = []
    budget = budget or Budget(1000, clock=Clock())
    result = sanitize.sanitize(budget, noted.append, where="san", runner=sanitizers)
    json.dumps(result)
    assert noted
    return result


def test_every_planted_fault_and_every_right_kernel_gets_its_verdict():
    result = sanitized(Sanitizers())
    assert result["version"] == "Version 2025.3.0"
    assert set(result["faults"]) == set(FAULTS)
    verdicts = {name: one["verdict"] for name, one in result["faults"].items()}
    assert verdicts["a_vector_at_a_float_address"] == sanitizer.AGREES
    assert verdicts["who_comes_first"] == sanitizer.NOBODY
    assert sanitizer.SILENT not in verdicts.values()
    right = [name for name in launch.subjects() if ":" in name]
    assert set(result["right"]) == set(right)
    assert result["counts"]["right"] == {"clean": 4 * len(right)}
    assert result["out_of_time"] == []


def test_what_a_compiler_left_out_is_asked_for_again_without_optimisation():
    name = "no_barrier_before_reading"
    told = sanitized(Sanitizers(dumb=[(name, "-lineinfo")]))["faults"][name]
    assert told["verdict"].startswith("agrees")
    assert told["compiled"] == "-G"
    assert told["words"].endswith("(only with -G)")
    told = sanitized(Sanitizers(dumb=[(name, "-lineinfo"), (name, "-G")]))["faults"][name]
    assert (told["verdict"], told["compiled"]) == (sanitizer.SILENT, "-lineinfo")


def test_a_kernel_that_hangs_is_killed_and_told():
    told = sanitized(Sanitizers(dead=["half_the_block_at_a_barrier"]))
    told = told["faults"]["half_the_block_at_a_barrier"]
    assert told["verdict"] == sanitizer.NO_VERDICT
    assert told["words"].startswith("killed after ")


def test_where_the_time_is_over_runs_are_left_out_and_named(monkeypatch):
    monkeypatch.setattr(sanitize, "AT_ONCE", 1)
    clock = Clock()
    result = sanitized(Sanitizers(clock), Budget(40, ["sanitize"], clock))
    assert result["runs"] < 40
    assert "own:everything racecheck -lineinfo" in result["out_of_time"]


def test_a_clean_summary_of_a_program_that_died_is_no_verdict(monkeypatch):
    def runner(command, seconds, **variables):
        return Ended(3, CLEAN.format("there is no CUDA device"), 1.0)

    result = sanitized(runner)
    one = result["right"]["own:direct"]
    assert one["verdicts"] == dict.fromkeys(sanitizer.TOOLS, sanitizer.NO_VERDICT)
    assert one["words"]["memcheck"] == "exit code 3: there is no CUDA device"
    silent = result["faults"]["one_past_the_end"]
    assert silent["verdict"] == sanitizer.NO_VERDICT
    monkeypatch.setitem(launch.OWN, "direct", None)
    result = sanitized(lambda *_, **__: Ended(0, CLEAN, 1.0))
    assert result["right"]["own:direct"]["verdicts"]["memcheck"] == sanitizer.NO_VERDICT


def test_without_a_sanitizer_the_result_says_so(monkeypatch):
    monkeypatch.setattr(sanitizer, "binary", lambda: None)
    result = sanitize.sanitize(Budget(10, clock=Clock()), lambda _: None)
    assert result["not_run"].startswith("compute-sanitizer is neither on the path")


# -- the runner ------------------------------------------------------------------------------------


def test_without_a_gpu_the_runner_says_in_one_sentence_what_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert launch.main(["one_past_the_end", "-lineinfo"]) == 3
    assert capsys.readouterr().err == "CuPy is not installed: pip install 'gradoracle[cupy]'\n"
    assert evidence.main([]) == 3
    assert capsys.readouterr().err == "CuPy is not installed: pip install 'gradoracle[cupy]'\n"


def test_an_unknown_subject_is_answered_with_the_known(capsys):
    assert launch.main(["nobody"]) == 2
    assert "no subject 'nobody'; there are one_past_the_end, " in capsys.readouterr().err


@pytest.mark.parametrize("subject", [name for name in launch.subjects() if name[:5] == "right"])
def test_right_kernels_are_launched_rightly(subject):
    with hostcuda.checking("forward"):
        launch.launch(hostcuda, subject)


@pytest.mark.parametrize("subject", ["own:everything", "own:direct", "own:implicit"])
def test_our_own_kernels_are_launched(subject):
    launch.launch(hostcuda, subject)


def test_faults_are_launched_as_in_their_test():
    with hostcuda.checking("forward"), pytest.raises(hostcuda.KernelFault, match="faults.cu:11: "):
        launch.launch(hostcuda, "one_past_the_end")


def test_what_a_command_started_is_ended_with_it():
    end = processes.run(["bash", "-c", "echo begun; sleep 60 & sleep 60"], 0.5)
    assert (end.code, end.output) == (None, "begun\n")
    assert end.seconds < 5
    assert not processes._running


# -- the stage `certify` ---------------------------------------------------------------------------


def test_certificates_are_kept_and_told_in_short(tmp_path):
    made = gradoracle.check(im2col, operators=["linear"], examples=1, seed=1)
    commands = []

    def runner(command, seconds, **options):
        commands.append([*map(str, command)])
        if "certify" in command[command.index("--profile") + 1 :][:1]:
            return Ended(None, "", seconds)
        target = command[command.index("--certificate") + 1]
        target.write_text(made.to_json(), encoding="utf-8")
        return Ended(0, "", 20.0)

    result = certification.certify(
        Budget(500, clock=Clock()), lambda _: None, folder=tmp_path / "certificates", runner=runner
    )
    json.dumps(result)
    quick, whole, *algorithms = result["runs"]
    assert quick["calls"] == made_calls(made)
    assert quick["certificate"] == "certificates/cupy-quick.json"
    assert whole["verdict"].startswith("not finished in ")
    assert [one["backend"].rpartition(":")[2] for one in algorithms] == ["direct", "implicit"]
    assert (tmp_path / quick["certificate"]).exists()
    assert "--seed" in commands[0]
    assert "conv2d,conv_transpose2d" in commands[2]


def made_calls(made):
    calls = {}
    for outcome in made.outcomes:
        for dtype, strata in outcome.calls.items():
            calls[dtype] = calls.get(dtype, 0) + sum(strata.values())
    return calls


def test_where_there_is_no_certificate_the_last_words_are_told(tmp_path):
    def runner(command, seconds, **options):
        return Ended(3, "backend 'cupy' cannot be loaded: no device\n", 2.0)

    result = certification.certify(
        Budget(60, clock=Clock()), lambda _: None, folder=tmp_path, runner=runner
    )
    assert result["runs"][0]["verdict"] == (
        "no certificate: backend 'cupy' cannot be loaded: no device"
    )
    assert result["runs"][1]["verdict"] == "not run: out of time"


# -- the budget ------------------------------------------------------------------------------------


def test_stages_share_the_time_and_leave_what_they_do_not_take():
    clock = Clock()
    budget = Budget(510, clock=clock)
    assert sum(SHARES.values()) == pytest.approx(1)
    assert budget.left("benchmark") == pytest.approx(505)
    assert budget.left("certify") == pytest.approx(505 * SHARES["certify"])
    clock.now += 100
    both = SHARES["certify"] + SHARES["sanitize"]
    assert budget.left("sanitize") == pytest.approx(505 * both - 100)
    clock.now += 1000
    assert budget.left("benchmark") == 0
    assert Budget(60, ["sanitize"], clock).left("sanitize") == pytest.approx(55)


# -- the layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "different", "count", "gmacs"),
    [
        ("ResNet-50", 23, 53, 4.09),
        ("VGG-16", 9, 13, 15.35),
        ("MobileNet v1", 19, 27, 0.568),
        ("MobileNet v2", 30, 52, 0.300),
        ("LeNet", 2, 2, 0.000358),
    ],
)
def test_layers_are_those_of_the_papers(network, different, count, gmacs):
    found = layers(network)
    assert (len(found), sum(layer.times for layer in found)) == (different, count)
    total = sum(macs(layer) * layer.times for layer in found) / 1e9
    assert total == pytest.approx(gmacs, rel=0.01)
    assert found[0].size in (28, 224)
    assert all(layer.network == network for layer in found)


def test_layers_of_a_network_follow_from_each_other():
    for network in NETWORKS:
        for layer in layers(network):
            assert side(layer) >= 1
            assert layer.channels % layer.groups == layer.filters % layer.groups == 0
    assert layers("ResNet-50")[0].name == "3x224² 7x7/2 -> 64"
    assert [side(layers(name)[-1]) for name in NETWORKS] == [7, 14, 10, 7, 7]
    dw = layers("MobileNet v1")[1]
    assert (dw.name, weight_shape(dw)) == ("32x112² 3x3 depthwise -> 32", (32, 1, 3, 3))
    assert [most_terms(dw, direction, 4) for direction in DIRECTIONS] == [9, 9, 4 * 112 * 112]


# -- whether answers are right ---------------------------------------------------------------------

SMALL = Layer("small", 4, 6, 8, 3, stride=2, groups=2)


def references(layer, data):
    """Return by direction im2col's answer in float64, and the sum of |x||w|."""
    exact = {k: v.astype(np.float64) for k, v in data.items()}
    sizes = {k: abs(v) for k, v in exact.items()}
    return {d: (computed(layer, d, exact), computed(layer, d, sizes)) for d in DIRECTIONS}


def computed(layer, direction, data):
    options = {
        "stride": (layer.stride,) * 2, "padding": (layer.padding,) * 2, "dilation": (1, 1),
        "groups": layer.groups,
    }  # fmt: skip
    x, weight, dy = data["x"], data["weight"], data["dy"]
    if direction == "forward":
        return im2col.conv2d(x, weight, **options)
    if direction == "grad_input":
        return im2col.conv2d_grad_input(dy, weight, input_shape=x.shape, **options)
    return im2col.conv2d_grad_weight(dy, x, weight_shape=weight.shape, **options)


def normal(layer, images):
    random = np.random.default_rng(2)
    shapes = input_shape(layer, images), weight_shape(layer), output_shape(layer, images)
    x, weight, dy = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
    return {"x": x, "weight": weight, "dy": dy}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_right_answer_is_within_the_bound_and_a_wrong_one_is_not(direction):
    data = normal(SMALL, 3)
    want, total = references(SMALL, data)[direction]
    terms = most_terms(SMALL, direction, 3)
    got = computed(SMALL, direction, data)
    verdict = rounding.judged(got, want, total, terms)
    assert verdict.within
    assert verdict.elements == got.size
    assert 0 < verdict.largest < 1
    got.flat[5] += 1e-3 * total.flat[5]
    verdict = rounding.judged(got, want, total, terms)
    assert verdict.wrong == 1
    assert verdict.largest > 1
    got.flat[5] = np.nan
    assert rounding.judged(got, want, total, terms).wrong == 1


def test_where_nothing_is_summed_the_answer_is_zero_exactly():
    zero = np.zeros(3)
    assert rounding.judged(zero.astype(np.float32), zero, zero, 9) == (0, 3, 0.0)
    assert rounding.judged(np.float32([0, 1e-40, 0]), zero, zero, 9).wrong == 1


def test_tf32_and_half_precision_are_beyond_the_bound_of_float32():
    data = normal(Layer("one", 1, 4, 1, 1), 1)
    layer = Layer("one", 1, 4, 1, 1)
    want, total = references(layer, data)["forward"]
    half = computed(layer, "forward", {k: v.astype(np.float16) for k, v in data.items()})
    assert not rounding.judged(half.astype(np.float32), want, total, 1).within
    short = {k: v.astype(np.float16) for k, v in data.items()}
    want, total = references(layer, short)["forward"]
    got = want.astype(np.float16)
    assert rounding.judged(got, want, total, 1, stored="float16").within
    assert not rounding.judged(got, want, total, 1).within


def test_a_sum_too_long_for_its_format_has_no_bound():
    with pytest.raises(ValueError, match="a sum of 2048 products has no bound"):
        rounding.gamma(2048, rounding.UNITS["float16"])


# -- the benchmark, with NumPy and a clock of its own ----------------------------------------------


class Machine:
    """Two contenders of im2col; the clock says that ours takes twice as long."""

    def __init__(self, clock, broken=()):
        self.clock, self.broken, self.order, self.released = clock, broken, [], 0
        self.takes = {OURS: 2e-3, CUDNN: 1e-3}

    def arrays(self, layer, images):
        return normal(layer, images)

    def contenders(self, layer, direction, data, columns):
        if direction in self.broken:
            raise MemoryError("no room")
        calls = {}
        for name in columns:
            if name in self.takes:
                calls[name] = lambda name=name: (
                    self.order.append(name),
                    computed(layer, direction, data),
                )[1]
            else:
                calls[name] = "not on this machine"
        return calls

    def seconds(self, call):
        call()
        taken = self.takes[self.order[-1]] * (1 + 0.1 * (len(self.order) % 3))
        self.clock.now += taken
        return taken

    def answer(self, call):
        return call()

    def check(self, layer, direction, data, answer, column):
        want, total = references(layer, data)[direction]
        verdict = rounding.judged(answer, want, total, most_terms(layer, direction, len(data["x"])))
        return {"within": verdict.within, "largest_error_over_bound": verdict.largest}

    def chosen(self, layer, direction, images):
        return "im2col"

    def release(self):
        self.released += 1


def measured(seconds=500, networks=("LeNet",), **options):
    clock = Clock()
    device = Machine(clock, **options)
    noted = []
    result = bench.benchmark(
        Budget(seconds, ["benchmark"], clock), noted.append, device, networks=networks, images=2
    )
    return device, result


def test_contenders_run_in_turns_and_are_checked():
    device, result = measured()
    first, second = result["layers"]
    assert first["layer"] == "1x28² 5x5 -> 6"
    entry = first["directions"]["grad_weight"]
    assert entry["columns"][OURS]["check"]["within"] is True
    assert entry["columns"][OURS]["runs"] == bench.MOST
    assert entry["ratio"] == pytest.approx(0.5, rel=0.15)
    assert entry["algorithm"] == "im2col"
    ms = entry["columns"][CUDNN]["ms"]
    assert entry["columns"][CUDNN]["tflops"] == pytest.approx(
        2 * first["macs"] * 2 / (ms * 1e-3) / 1e12
    )
    assert second["directions"]["forward"]["columns"][OURS]["check"]["within"] is True
    warm, turns = device.order[: 2 * bench.WARM], device.order[2 * bench.WARM :][:8]
    assert warm == [OURS] * bench.WARM + [CUDNN] * bench.WARM
    assert turns == [OURS, CUDNN, CUDNN, OURS] * 2
    assert device.released == 2


def test_means_are_geometric_and_of_the_whole_network():
    def layer(times, ours, theirs):
        columns = {OURS: {"ms": ours, "check": {"within": True}}, CUDNN: {"ms": theirs}}
        directions = {d: {"columns": columns} for d in DIRECTIONS}
        return {"network": "LeNet", "times": times, "directions": directions}

    told = [layer(3, 2.0, 1.0), layer(1, 1.0, 8.0)]
    means = bench.means(told)["LeNet"]
    assert means["forward"]["geometric"] == pytest.approx(2.0)
    assert means["forward"]["whole"] == pytest.approx(11 / 7)
    assert (means["grad_input"]["layers"], means["grad_input"]["of"]) == (2, 2)
    assert means["grad_input"]["wrong"] == 0
    told[0]["directions"]["forward"]["columns"][OURS]["check"] = {"within": None}
    assert bench.means(told)["LeNet"]["forward"]["wrong"] == 1


def test_what_fails_in_one_direction_is_told_and_the_others_go_on():
    _, result = measured(broken=["grad_input"])
    directions = result["layers"][0]["directions"]
    assert directions["grad_input"] == {"failed": "MemoryError: no room"}
    assert "ratio" in directions["grad_weight"]
    assert "grad_input" not in result["means"]["LeNet"]


def test_where_the_time_is_over_the_rest_is_left_out_and_told():
    _, result = measured(seconds=8.5)
    assert len(result["layers"]) < 2 or "out_of_time" not in result
    _, result = measured(seconds=6)
    assert result["layers"] == []
    assert result["out_of_time"]
    assert result["means"] == {}


def test_columns_that_there_are_not_say_why():
    assert bench.in_turns({}, float) == {}
    device, entry = Machine(Clock()), {}
    bench._direction(device, SMALL, 1, "forward", normal(SMALL, 1), bench.EXTRA, entry)
    assert entry["columns"] == {name: {"not_run": "not on this machine"} for name in bench.EXTRA}


# -- the device, with PyTorch on the CPU and NumPy in CuPy's place ---------------------------------


@pytest.fixture
def device():
    torch = pytest.importorskip("torch", reason="it is what cuDNN is asked through")
    from tests.gpu.device import Device

    made = Device.__new__(Device)
    made.torch, made._known = torch, (None,)
    made.cupy = SimpleNamespace(from_dlpack=np.from_dlpack)
    return made


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_both_contenders_compute_the_layer_and_are_within_the_bound(device, direction):
    data = {name: device.torch.from_numpy(array) for name, array in normal(SMALL, 3).items()}
    calls = device.contenders(SMALL, direction, data, (OURS, CUDNN))
    for name, call in calls.items():
        verdict = device.check(SMALL, direction, data, device.answer(call), name)
        assert verdict["within"] is True, (name, verdict)
        assert 0 < verdict["largest_error_over_bound"] < 1
    spoilt = calls[CUDNN]() * 1.001
    assert device.check(SMALL, direction, data, spoilt, CUDNN)["within"] is False
    assert device.check(SMALL, direction, data, spoilt, "cuDNN TF32")["within"] is None
    assert device.chosen(SMALL, direction, 3) == "direct"
    assert device.chosen(layers("VGG-16")[4], direction, 32) == "implicit"


def test_what_tf32_would_round_is_told(device, monkeypatch):
    arrays = {name: device.torch.from_numpy(array) for name, array in normal(SMALL, 2).items()}
    monkeypatch.setattr(device, "arrays", lambda *_: arrays, raising=False)
    monkeypatch.setattr(device, "release", lambda: None, raising=False)
    probe = device.probed(SMALL, 2)
    assert list(probe["answers"]) == [OURS, CUDNN, bench.TF32]
    assert all(answer == [0.0, 4097.0] for answer in probe["answers"].values())


def test_half_precision_is_judged_by_its_own_bound(device):
    data = {name: device.torch.from_numpy(array) for name, array in normal(SMALL, 2).items()}
    for name, call in device.contenders(SMALL, "forward", data, ("cuDNN float16",)).items():
        assert device.check(SMALL, "forward", data, call(), name)["within"] is True
    much = layers("VGG-16")[1]
    shapes = {"x": SimpleNamespace(shape=(32,), half=lambda: None)}
    assert "too much" in device._contender("ours float16", much, "forward", shapes)


def test_large_layers_are_checked_on_some_images(device, monkeypatch):
    from tests.gpu import device as module

    data = {name: device.torch.from_numpy(array) for name, array in normal(SMALL, 6).items()}
    monkeypatch.setattr(module, "MUCH", 1)
    told = {
        d: device.check(SMALL, d, data, call(), CUDNN)
        for d in DIRECTIONS
        for call in device.contenders(SMALL, d, data, (CUDNN,)).values()
    }
    assert all(one["within"] for one in told.values())
    assert told["grad_weight"]["of"] == "all images"
    assert told["forward"]["of"] == "the first two images and the last two"
    assert told["forward"]["elements"] == 4 * 8 * 3 * 3


class Event:
    """A CUDA event of a device that is busy until some of the host's time has passed."""

    def __init__(self, late):
        self.late, self.taken = late, 1.5

    def record(self):
        pass

    def query(self):
        return next(self.late)

    def synchronize(self):
        pass

    def elapsed_time(self, _end):
        return self.taken


def test_an_interval_that_waits_for_the_host_is_measured_again():
    from tests.gpu.device import PATIENCE, Device

    late, filled = iter([True, True, False, *[True] * 9]), []
    made = Device.__new__(Device)
    made.torch = SimpleNamespace(
        cuda=SimpleNamespace(Event=lambda **_: Event(late)),
    )
    made.room = SimpleNamespace(fill_=filled.append)
    made.times_over, made.host_was_late, made.runs = 1, 0, 0
    assert made.seconds(lambda: None) == pytest.approx(1.5e-3)
    assert (made.times_over, made.host_was_late, made.runs) == (3, 0, 3)
    assert len(filled) == 1 + 2 + 3
    made.seconds(lambda: None)
    assert (made.times_over, made.host_was_late) == (PATIENCE, 1)


# -- the file and the table ------------------------------------------------------------------------

TOLD = {
    "gpu": "MADE UP GPU", "cuda": "0.0", "cupy": "0.0", "torch": "0.0", "cudnn": "0",
    "nvidia_smi": {"driver_version": "0", "clocks.sm": "1 MHz", "clocks.max.sm": "2 MHz"},
}  # fmt: skip


def record(folder, sources="one"):
    return evidence.Record(folder / "made-up-gpu.json", dict(TOLD), sources, 1.0)


def stages(folder):
    return json.loads((folder / "made-up-gpu.json").read_text())["stages"]


def test_a_failing_stage_is_told_and_the_others_run(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "smi", dict)

    def works(note):
        note({"so far": float("inf")})
        assert stages(tmp_path)["good"]["state"] == "running"
        assert stages(tmp_path)["good"]["result"] == {"so far": "inf"}
        return {"all": (1, 2.5)}

    def fails(note):
        note({"half": True})
        raise RuntimeError("the device\nis gone")

    code = evidence.gathered(record(tmp_path), Budget(60), {"certify": fails})
    assert code == 1
    bad = stages(tmp_path)["certify"]
    assert (bad["state"], bad["why"]) == ("failed", "RuntimeError: the device is gone")
    assert bad["result"] == {"half": True}
    again = record(tmp_path)
    budget = Budget(60)
    budget.ends["good"] = 60
    assert evidence.gathered(again, budget, {"good": works}) == 0
    assert set(stages(tmp_path)) == {"certify", "good"}
    assert stages(tmp_path)["good"]["result"] == {"all": [1, 2.5]}
    assert record(tmp_path, "other sources").content["stages"] == {}


def test_a_device_without_memory_is_told_layer_by_layer(tmp_path, monkeypatch):
    from tests.gpu import device as module

    class Full(Machine):
        def arrays(self, layer, images):
            raise MemoryError(f"no room for {images} images")

        def settings(self):
            return {"runs": 0}

        def probed(self, layer, images):
            return self.arrays(layer, images)

    monkeypatch.setattr(module, "device", lambda: Full(Clock()))
    monkeypatch.setattr(machine, "smi", lambda: {"clocks.sm": "1 MHz", "name": "MADE UP"})
    budget = Budget(60)
    one = record(tmp_path)
    assert one.stage("benchmark", budget, evidence.works(budget, tmp_path)["benchmark"])
    result = stages(tmp_path)["benchmark"]["result"]
    assert len(result["layers"]) == sum(len(layers(name)) for name in NETWORKS)
    assert {layer["failed"] for layer in result["layers"]} == {"MemoryError: no room for 32 images"}
    assert result["tf32_probe"] == {"failed": "no room for 32 images"}
    assert result["clocks"] == [{"clocks.sm": "1 MHz"}] * 11
    assert "no room for 32 images" in table.table(tmp_path)


STOPPED = """if True:
    import sys, time
    from pathlib import Path
    from tests.gpu import evidence, machine
    from tests.gpu.budget import Budget
    machine.smi = lambda: {}
    record = evidence.Record(Path(sys.argv[1]) / "made-up-gpu.json", {"gpu": "MADE UP"}, "", 1)
    def work(note):
        note({"half": True})
        print("begun", flush=True)
        for _ in range(600):
            time.sleep(0.1)
    sys.exit(evidence.gathered(record, Budget(60), {"certify": work, "sanitize": work}))"""


def test_a_signal_leaves_what_was_done(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line == "begun\n":
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
    assert list(stages(tmp_path)) == ["certify"]
    told = stages(tmp_path)["certify"]
    assert (told["state"], told["why"]) == ("stopped", "stopped by SIGTERM")
    assert told["result"] == {"half": True}


def test_the_table_of_no_result_and_of_one(tmp_path, capsys):
    table.main([tmp_path])
    assert capsys.readouterr().out == "no result yet\n"
    one = record(tmp_path)
    budget = Budget(1000, clock=Clock())
    _, measures = measured()
    run = {
        "backend": "cupy", "profile": "quick", "verdict": "CERTIFIED", "calls": {"float32": 7},
        "worst_error_over_bound": 0.5, "seconds": 1.0,
    }  # fmt: skip
    results = {"certify": {"runs": [run]}, "sanitize": sanitized(Sanitizers(), budget)}
    for name, result in {**results, "benchmark": measures}.items():
        one.stage(name, budget, lambda note, result=result: result)
    text = table.table(tmp_path)
    assert "### MADE UP GPU" in text
    assert "| `cupy` | quick | CERTIFIED | float32 7 | 0.500 | 1.0 |" in text
    assert "| `a_division_by_zero` | undefined behaviour: division by zero | no tool | " in text
    assert "| `own:direct` | clean | clean | clean | clean |" in text
    assert "| LeNet | 0." in text
    assert "2 of 2" in text
    rows = [line for line in text.splitlines() if line.startswith("| LeNet | 1x28² ")]
    assert len(rows) == 3
    widths = {line.count("|") for line in text.splitlines() if "x28² " in line}
    assert widths == {10}
    (tmp_path / "other.json").write_text("{}")
    assert "other.json cannot be read: KeyError: 'machine'" in table.table(tmp_path)


def test_the_machine_is_told_in_words_where_it_cannot_be_asked(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "not_told" in machine.smi()
    assert machine.slug("NVIDIA H200 (80GB)") == "nvidia-h200-80gb"
    assert machine.sources() == machine.sources()


def test_only_stages_that_there_are(capsys):
    assert evidence._stages("benchmark, certify") == ["certify", "benchmark"]
    with pytest.raises(SystemExit):
        evidence.main(["--only", "dance"])
    assert "no stage 'dance'; there are certify, sanitize, benchmark" in capsys.readouterr().err
