"""One benchmark per backend, function, layer, number of images and dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.benchmarks.case import Case, moved
from gradoracle.conformance.benchmarks.hooks import BENCH
from gradoracle.conformance.benchmarks.measure import Product, Timed, rounds

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from gradoracle.conformance.backends.backend import Backend


def test_function(
    benchmark: BenchmarkFixture,
    backend: Backend,
    case: Case,
    request: pytest.FixtureRequest,
) -> None:
    bench = request.config.stash[BENCH]
    call = case.call()
    benchmark.group = f"{case.function}, {case.images} x {case.dtype}"
    told = benchmark.extra_info
    told |= {
        "case": case.name, "backend": backend.name, "network": case.network, "layer": case.layer,
        "function": case.function, "formula": case.formula.__name__, "images": case.images,
        "dtype": case.dtype, "products": case.products,
    }  # fmt: skip
    with one_thread():
        ours = Timed(backend, case.formula, call)
        beside = bench.reference(case, backend)
        other = Timed(beside, case.formula, call) if beside is not None else None
        bare = None if case.sides is None else Product(case.sides, case.dtype)
        others = [one for one in (other, bare) if one is not None]
        try:
            count = rounds([ours, *others], bench.seconds)
        except NotImplementedError as error:
            pytest.skip(f"declined: {error}")

        def before() -> None:
            for one in others:
                one.round()

        benchmark.pedantic(ours.round, setup=before, rounds=count)  # type: ignore[no-untyped-call]
        told |= {"repeat": ours.repeat, "wall": ours.times.wall, "cpu": ours.times.cpu}
        if other is not None and beside is not None:
            told |= {
                "beside": beside.name, "beside_wall": other.times.wall,
                "beside_cpu": other.times.cpu,
            }  # fmt: skip
        if bare is not None:
            told["product_cpu"] = bare.times.cpu
        told["peak"] = ours.peak()
        got = ours.answers(call)
        told["own"] = sum(one.nbytes for one in got.values())
        told["bytes"] = moved({n: call[n] for n in ours.read}, *got.values())
        try:
            for part, one in got.items():
                told["verdict"] = case.verdict(backend, call, one, part)
        except Mismatch as mismatch:
            told["verdict"] = f"wrong: {mismatch.headline}"
            pytest.fail(told["verdict"], pytrace=False)
