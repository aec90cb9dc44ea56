"""The stage `benchmark`: our convolutions beside cuDNN's, layer by layer, in turns.

What computes, measures and checks is given (`tests.gpu.device` on a GPU): a device has

    arrays(layer, images)                          the data of a layer, of this device's own kind
    contenders(layer, direction, data, columns)    name -> a call without arguments -> answer
    seconds(call)                                  of one run, with cold caches
    answer(call)                                   that owes nothing to the runs before
    check(layer, direction, data, answer, column)  a dict with `within` and `largest`
    chosen(layer, direction, images)               the algorithm that ours chose, in words
    release()                                      lets go of memory
"""

import math
import statistics

from gradoracle.conformance.operators.network_layers import NETWORKS, layers
from tests.gpu.layers import DIRECTIONS, input_shape, macs, weight_shape

STAGE = "benchmark"
IMAGES = 32
OURS, CUDNN = "ours", "cuDNN"
SINGLE = (OURS, CUDNN)
TF32 = "cuDNN TF32"
EXTRA = (TF32, "cuDNN float16", "ours float16")
WARM, LEAST, MOST = 3, 5, 25  # runs
LONGEST = 0.2  # seconds that the runs of one contender take in all
MEANS = ("ResNet-50", "VGG-16")  # the networks whose means are told, and that get all columns


def benchmark(budget, note, device, *, networks=NETWORKS, images=IMAGES):
    """Measure what there is time for: float32 in all networks, then the other formats."""
    result = {"images": images, "flops": "2 x multiply-adds of the formula", "layers": []}
    by_layer = {}
    tasks = [(layer, SINGLE) for name in networks for layer in layers(name)]
    extra = [(layer, EXTRA) for name in networks if name in MEANS for layer in layers(name)]
    for layer, columns in [*tasks, *extra]:
        if budget.left(STAGE) < 3:
            result["out_of_time"] = "some layers or columns were not measured"
            break
        if layer not in by_layer:
            by_layer[layer] = _described(layer, images)
            result["layers"].append(by_layer[layer])
        _measure(budget, device, layer, images, columns, by_layer[layer])
        budget.say(f"{layer.network:12} {layer.name:32} {_line(by_layer[layer], columns)}")
        result["means"] = means(result["layers"])
        note(result)
    result["means"] = means(result["layers"])
    return result


def _described(layer, images):
    return {
        "network": layer.network, "layer": layer.name, "times": layer.times, "macs": macs(layer),
        "x": input_shape(layer, images), "weight": weight_shape(layer), "stride": layer.stride,
        "padding": layer.padding, "groups": layer.groups,
        "directions": {direction: {} for direction in DIRECTIONS},
    }  # fmt: skip


def _measure(budget, device, layer, images, columns, told):
    """Add to what is told of a layer; what fails in one direction is told there."""
    try:
        data = device.arrays(layer, images)
        for direction in DIRECTIONS:
            entry = told["directions"][direction]
            if budget.left(STAGE) < 2:
                _not_run(entry, columns, "out of time")
                continue
            try:
                _direction(device, layer, images, direction, data, columns, entry)
            except Exception as error:  # noqa: BLE001 - the other directions go on
                _not_run(entry, columns, _one_line(error))
    except Exception as error:  # noqa: BLE001 - the other layers go on
        told["failed"] = _one_line(error)
    finally:
        device.release()


def _not_run(entry, columns, why):
    """Tell why columns are missing, of an entry that has none or that has others."""
    if "columns" not in entry:
        entry["failed"] = why
    for name in columns if "columns" in entry else ():
        entry["columns"].setdefault(name, {"not_run": why})


def _direction(device, layer, images, direction, data, columns, entry):
    calls = device.contenders(layer, direction, data, columns)
    for name, refusal in [(n, c) for n, c in calls.items() if isinstance(c, str)]:
        entry.setdefault("columns", {})[name] = {"not_run": refusal}
        del calls[name]
    for name, times in in_turns(calls, device.seconds).items():
        median = statistics.median(times)
        entry.setdefault("columns", {})[name] = {
            "ms": median * 1e3, "spread_ms": [min(times) * 1e3, max(times) * 1e3],
            "runs": len(times), "tflops": 2 * macs(layer) * images / median / 1e12,
        }  # fmt: skip
    for name, call in calls.items():
        try:
            verdict = device.check(layer, direction, data, device.answer(call), name)
        except Exception as error:  # noqa: BLE001 - the times stand, and it is told
            verdict = {"within": None, "why": _one_line(error)}
        entry["columns"][name]["check"] = verdict
    if OURS in columns:
        entry["algorithm"] = device.chosen(layer, direction, images)
        entry["ratio"] = ratio(entry)


def in_turns(calls, seconds):
    """Return the seconds of every call's runs, in turns, after some that do not count."""
    if not calls:
        return {}
    times = {name: [] for name in calls}
    longest = max([seconds(call) for _ in range(WARM)][-1] for call in calls.values())
    rounds = MOST if not longest else max(LEAST, min(MOST, int(LONGEST / longest)))
    names = list(calls)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(seconds(calls[name]))
    return times


def ratio(entry):
    """Return cuDNN's time over ours, above 1 where ours is faster; None: there are not both."""
    columns = entry.get("columns", {})
    try:
        return columns[CUDNN]["ms"] / columns[OURS]["ms"]
    except KeyError:
        return None


def means(told):
    """Return, by network and direction, the means of the layers that were measured.

    `geometric` is over the layers that differ, each once; `whole` is the ratio of the sums of
    times, each layer as often as the network has it.
    """
    found = {}
    for network in dict.fromkeys(one["network"] for one in told):
        whole = len(layers(network)) if network in NETWORKS else 0
        for direction in DIRECTIONS:
            entries = [
                (one["times"], one["directions"][direction])
                for one in told if one["network"] == network
                and ratio(one["directions"][direction]) is not None
            ]  # fmt: skip
            if not entries:
                continue
            sums = {
                name: sum(times * entry["columns"][name]["ms"] for times, entry in entries)
                for name in SINGLE
            }
            found.setdefault(network, {})[direction] = {
                "geometric": math.exp(
                    statistics.fmean(math.log(ratio(entry)) for _, entry in entries)
                ),
                "whole": sums[CUDNN] / sums[OURS],
                "layers": len(entries), "of": whole,
                "wrong": sum(
                    entry["columns"][OURS].get("check", {}).get("within") is not True
                    for _, entry in entries
                ),
            }  # fmt: skip
    return found


def _line(told, columns):
    """Return a layer's times in short."""
    parts = []
    for direction, entry in told["directions"].items():
        if "failed" in entry:
            parts.append(f"{direction} FAILED")
            continue
        had = entry.get("columns", {})
        ms = "/".join(f"{had[n]['ms']:.3f}" if "ms" in had.get(n, {}) else "-" for n in columns)
        wrong = any(had.get(n, {}).get("check", {}).get("within") is False for n in columns)
        parts.append(f"{direction} {ms} ms{' WRONG' * wrong}")
    return told.get("failed", "; ".join(parts))


def _one_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
