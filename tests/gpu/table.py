"""The results as Markdown: `python -m tests.gpu.table [FOLDER]`, for the README."""

import json
import sys
from pathlib import Path

from tests.gpu.benchmark import CUDNN, EXTRA, MEANS, OURS
from tests.gpu.evidence import RESULTS
from tests.gpu.layers import DIRECTIONS

NONE_YET = "no result yet"
SHORT = {"forward": "forward", "grad_input": "dX", "grad_weight": "dW"}


def table(folder):
    """Return the Markdown of all results in a folder."""
    texts = []
    for file in sorted(Path(folder).glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            texts.append("\n\n".join(_of(content)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            texts.append(f"{file.name} cannot be read: {type(error).__name__}: {error}")
    return "\n\n".join(texts) or NONE_YET


def _of(content):
    told = content["machine"]
    smi = told.get("nvidia_smi", {})
    yield (
        f"### {told['gpu']}\n\n"
        f"Driver {smi.get('driver_version', 'not told')}, CUDA {told['cuda']}, "
        f"CuPy {told['cupy']}, PyTorch {told.get('torch', 'none')}, "
        f"cuDNN {told.get('cudnn', 'none')}; "
        f"SM clock {smi.get('clocks.sm', 'not told')} of {smi.get('clocks.max.sm', 'not told')}."
    )
    shown = {"certify": _certify, "sanitize": _sanitize, "benchmark": _benchmark}
    for name, show in shown.items():
        stage = content["stages"].get(name)
        if stage is None:
            yield f"{name}: not run."
            continue
        if stage["state"] != "done":
            yield f"{name}: {stage['state']} after {stage['seconds']} s: {stage.get('why', '')}"
        yield from show(stage["result"])


def _rows(titles, rows):
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _certify(result):
    if result.get("runs"):
        yield _rows(
            ["backend", "profile", "verdict", "calls", "largest error over bound", "seconds"],
            [
                [
                    f"`{run['backend']}`", run["profile"], run["verdict"],
                    ", ".join(f"{d} {n}" for d, n in run.get("calls", {}).items()) or "-",
                    f"{run['worst_error_over_bound']:.3f}" if "calls" in run else "-",
                    run.get("seconds", "-"),
                ]
                for run in result["runs"]
            ],
        )  # fmt: skip


def _sanitize(result):
    if "not_run" in result:
        yield f"sanitize: {result['not_run']}."
    if result.get("faults"):
        yield _rows(
            ["planted fault", "hostcuda", "compute-sanitizer", "verdict"],
            [
                [f"`{name}`", one["hostcuda"], one["tool"] or "no tool", one["words"]
                 if one["verdict"].startswith("not looked for") else
                 f"{one['verdict']}: {one['words']}"]
                for name, one in result["faults"].items()
            ],
        )  # fmt: skip
    if result.get("right"):
        tools = _tools(result)
        yield _rows(
            ["right kernel", *tools],
            [
                [f"`{name}`", *(one["verdicts"].get(tool, "not run") for tool in tools)]
                for name, one in result["right"].items()
            ],
        )  # fmt: skip


def _tools(result):
    """Return the tools that looked at right kernels."""
    tools = (tool for one in result["right"].values() for tool in one["verdicts"])
    return list(dict.fromkeys(tools))


def _benchmark(result):
    means = result.get("means", {})
    if means:
        yield (
            f"cuDNN's time over ours (above 1: ours is faster), float32 without TF32, "
            f"{result['images']} images; geometric mean over the layers, and of all layers together"
        )
        yield _rows(
            ["network", *(SHORT[d] for d in DIRECTIONS), "layers", "beyond the bound"],
            [
                [
                    f"**{network}**" if network in MEANS else network,
                    *(_mean(found.get(direction)) for direction in DIRECTIONS),
                    " / ".join(f"{one['layers']} of {one['of']}" for one in found.values()),
                    sum(one["wrong"] for one in found.values()),
                ]
                for network, found in means.items()
            ],
        )  # fmt: skip
    if result.get("layers"):
        yield "Milliseconds, median; of ours also the algorithm and TFLOP/s."
        yield _rows(
            ["network", "layer", "", OURS, CUDNN, "ratio", *EXTRA],
            [
                row for one in result["layers"] for direction in DIRECTIONS
                if (row := _layer(one, direction))
            ],
        )  # fmt: skip


def _mean(one):
    return f"{one['geometric']:.2f} ({one['whole']:.2f})" if one else "-"


def _layer(one, direction):
    entry = one["directions"].get(direction, {})
    if "failed" in one or "failed" in entry:
        why = one.get("failed") or entry["failed"]
        return [one["network"], one["layer"], SHORT[direction], why, *["-"] * (2 + len(EXTRA))]
    columns = entry.get("columns", {})
    if not columns:
        return None
    ratio = entry.get("ratio")
    return [
        one["network"], one["layer"], SHORT[direction],
        _cell(columns.get(OURS)) + f" {entry.get('algorithm', '')}", _cell(columns.get(CUDNN)),
        f"{ratio:.2f}" if ratio else "-", *(_cell(columns.get(name)) for name in EXTRA),
    ]  # fmt: skip


def _cell(column):
    if not column or "ms" not in column:
        return "-"
    wrong = " WRONG" if column.get("check", {}).get("within") is False else ""
    return f"{column['ms']:.3f} ({column['tflops']:.1f}){wrong}"


def main(arguments):
    """Print it."""
    print(table(arguments[0] if arguments else RESULTS))


if __name__ == "__main__":
    main(sys.argv[1:])
