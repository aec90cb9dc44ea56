"""What the examples that train graphs share: the check before, steps of Adam, curves of the loss.

A network is a function from the number of images to the nodes of a graph, as
`oracle.chains.graph` runs them; every answer is a backend's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from gradoracle import check, oracle
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.registry import UnknownBackend, UnusableBackend
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.examples.curves import sparkline, svg
from gradoracle.conformance.examples.lenet import Digits, Epoch, load_digits
from gradoracle.conformance.operators.graph_builder import Builder
from gradoracle.conformance.runs.loading import load
from gradoracle.oracle.chains.graph import Run, backward, forward
from gradoracle.oracle.chains.links import Node
from gradoracle.oracle.declaration import Call, Formula, parts_of
from gradoracle.oracle.shapes import Array, Shape

ADAM = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0}
MOMENTUM = 0.1  # of running statistics
CLASSES = 10


@dataclass(frozen=True)
class Network:
    """A graph for any number of images, ending in one cross-entropy, and what it is made of."""

    build: Callable[[int], Builder]  # from the number of images
    inputs: Callable[[Array], dict[str, Any]]  # from images [N, 1, 8, 8]: x, and tokens
    operators: tuple[str, ...]  # that are checked before training


@dataclass
class Training:
    """The parameters of a network and what Adam and batch normalisation remember."""

    backend: Backend
    network: Network
    seed: int = 0
    parameters: dict[str, Array] = field(default_factory=dict)
    moments: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    running: dict[str, Array] = field(default_factory=dict)
    steps: int = 0

    def __post_init__(self) -> None:
        """Draw the parameters: normal weights over the root of what they sum, biases of 0."""
        random = np.random.default_rng(self.seed)
        made = self.network.build(1)
        normed = {n.number for n in made.nodes if n.operator.endswith("norm")}
        for name, shape in made.arrays.items():
            kind, _, number = name.partition("_")
            if kind in ("weight", "bias"):
                self.parameters[name] = _initial(random, kind, shape, int(number) in normed)
        for node in made.nodes:
            if node.operator == "batch_norm":
                channels = node.shape[1:2]
                self.running[f"running_mean_{node.number}"] = np.zeros(channels, np.float32)
                self.running[f"running_var_{node.number}"] = np.ones(channels, np.float32)

    def ask(self, formula: Formula, call: Call) -> Any:
        """Return the backend's answer; of a function of several results, all of them."""
        with self.backend.sharing(is_allowed=True):
            found = [self.backend.ask(part, call) for part in parts_of(formula)]
        return found[0] if len(found) == 1 else found

    def step(self, images: Array, digits: Array, learning_rate: float) -> float:
        """Move every parameter by Adam, and return the loss before."""
        nodes = self.nodes(len(images))
        call = self._call(images, digits)
        run = forward(self.ask, nodes, call)
        gradients = backward(self.ask, nodes, call, run)
        self.steps += 1
        for name, gradient in gradients.items():
            if name in self.parameters:
                self._adam(name, gradient, learning_rate)
        for node in nodes:
            if node.operator == "batch_norm":
                self._remember(node, run)
        self.backend.answers.clear()
        (loss,) = run.losses.values()
        return float(loss)

    def nodes(self, images: int, *, training: bool = True) -> tuple[Node, ...]:
        """Return the network's nodes for so many images."""
        nodes = _nodes(self.network.build, images)
        return tuple(
            n._replace(options={**n.options, "training": training})
            if n.operator == "batch_norm" else n
            for n in nodes
        )  # fmt: skip

    def accuracy(self, tested: Digits) -> float:
        """Return the share of images whose digit has the largest logit."""
        nodes = self.nodes(len(tested.images), training=False)
        run = forward(self.ask, nodes, self._call(*tested))
        self.backend.answers.clear()
        logits = run.values[nodes[-1].inputs[0]]
        return float((logits.argmax(axis=1) == tested.digits).mean())

    def _call(self, images: Array, digits: Array) -> dict[str, Any]:
        rows = np.zeros((len(images), CLASSES), np.float32)  # whose dtype is that of the graph
        biases = {name.replace("weight", "bias"): None for name in self.parameters}
        arrays = {**biases, **self.parameters, **self.running}
        return {**arrays, **self.network.inputs(images), "target": digits, "grad_output": rows}

    def _adam(self, name: str, gradient: Array, learning_rate: float) -> None:
        zeros = np.zeros_like(gradient)
        average, square = self.moments.get(name, (zeros, zeros))
        call = {
            "parameter": self.parameters[name], "gradient": gradient, "exp_avg": average,
            "exp_avg_sq": square, "step": self.steps, "learning_rate": learning_rate, **ADAM,
        }  # fmt: skip
        moved, average, square = self.ask(oracle.adam_step, call)  # type: ignore[attr-defined]
        self.parameters[name], self.moments[name] = moved, (average, square)

    def _remember(self, node: Node, run: Run) -> None:
        names = [f"running_{of}_{node.number}" for of in ("mean", "var")]
        old = dict(
            zip(("running_mean", "running_var"), (self.running[n] for n in names), strict=True)
        )
        call = {"x": run.values[node.inputs[0]], **old, "momentum": MOMENTUM}
        new = self.ask(oracle.batch_norm_update, call)  # type: ignore[attr-defined]
        self.running |= dict(zip(names, new, strict=True))


@cache
def _nodes(build: Callable[[int], Builder], images: int) -> tuple[Node, ...]:
    return (*build(images).nodes,)


def _initial(random: Any, kind: str, shape: Shape, is_normed: bool) -> Array:  # noqa: FBT001
    if kind == "bias" or is_normed:
        return np.full(shape, kind != "bias", np.float32)
    drawn: Array = random.standard_normal(shape) / np.sqrt(prod(shape[1:]))
    return drawn.astype(np.float32)


def train(
    training: Training, learned: Digits, tested: Digits, *, epochs: int, learning_rate: float,
    batch: int = 48,
) -> Iterator[tuple[Epoch, Sequence[float]]]:  # fmt: skip
    """Train by Adam with a rate that falls to 0; yield each epoch, and the loss of its steps."""
    random = np.random.default_rng(training.seed)
    for epoch in range(epochs):
        order, losses = random.permutation(len(learned.images)), []
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            rate = learning_rate * (1 - (epoch + at / len(order)) / epochs)
            losses.append(training.step(learned.images[chosen], learned.digits[chosen], rate))
        yield Epoch(float(np.mean(losses)), training.accuracy(tested)), losses


def checked(backend: Backend, network: Network, examples: int, console: Console) -> None:
    """Check the functions of a network and its graph; exit where one of them is wrong or absent."""
    needed = [f for name in network.operators for f in _formulas(name)]
    absent = [f.__name__ for f in needed if not backend.has(f)]
    if absent:
        said = f"{backend.name} has no {', '.join(absent)}, which this network needs"
        console.print(said, style="red", markup=False)
        raise typer.Exit(2)
    certificate = check(backend, operators=network.operators, examples=examples)
    for found in certificate.mismatches:
        console.print(found.text, style="red", markup=False)
        raise typer.Exit(1)
    calls = sum(outcome.judged for outcome in certificate.outcomes)
    names = ", ".join(network.operators)
    console.print(f"{backend.name}: {names} found right on {calls} calls")


def _formulas(operator: str) -> Sequence[Formula]:
    from gradoracle.conformance.operators import OPERATORS  # noqa: PLC0415 - long to import

    found = next(one for one in OPERATORS if one.name == operator)
    return (*found.formulas[:1], *found.gradients)


def run(
    network: Network, *, backend: str, epochs: int, learning_rate: float, examples: int, curve: str
) -> None:  # fmt: skip
    """Check a backend's functions, train a network with them, and show how the loss falls."""
    console = Console(highlight=False)
    try:
        judged, (learned, tested) = load(backend), load_digits()
    except (UnknownBackend, UnusableBackend, ImportError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    checked(judged, network, examples, console)
    losses: list[float] = []
    with one_thread():
        told = train(
            Training(judged, network), learned, tested, epochs=epochs, learning_rate=learning_rate
        )
        for number, (epoch, steps) in enumerate(told, 1):
            losses += steps
            console.print(
                f"epoch {number:3}  loss {epoch.loss:.3f}  {epoch.accuracy:6.1%} of "
                f"{len(tested.images)} digits never seen are read right"
            )
    console.print(f"loss {losses[0]:.2f} {sparkline(losses)} {losses[-1]:.3f}")
    if curve:
        Path(curve).write_text(svg(losses, f"{backend}: loss of {len(losses)} steps"), "utf-8")
        console.print(f"the curve is in {curve}", markup=False)


def command(
    network: Network, words: str, *, epochs: int, learning_rate: float
) -> Callable[..., None]:
    """Return a command that trains a network, with these numbers where none are given."""
    passes, rate = epochs, learning_rate

    def main(
        *,
        backend: Annotated[str, typer.Option(help="registered name or import path")] = "im2col",
        epochs: Annotated[int, typer.Option(min=1, help="passes over the images")] = passes,
        learning_rate: Annotated[float, typer.Option(help="of Adam, falling to 0")] = rate,
        examples: Annotated[int, typer.Option(min=1, help="of every check before training")] = 25,
        curve: Annotated[str, typer.Option(help="SVG file of the loss")] = "",
    ) -> None:
        run(
            network, backend=backend, epochs=epochs, learning_rate=learning_rate,
            examples=examples, curve=curve,
        )  # fmt: skip

    main.__doc__ = words
    return main
