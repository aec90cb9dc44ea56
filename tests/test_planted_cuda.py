"""Faults in our own CUDA kernels are caught: by check mode, or by the suite."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.implementations import cupy_kernels, hostcuda, im2col
from gradoracle.implementations.cupy_kernels import algorithms, machine
from tests import cupy_calls
from tests.planted import cuda, cuda_operators

pytestmark = pytest.mark.slow

FAULTS = {**cuda.FAULTS, **cuda_operators.FAULTS}
FUNCTIONS = {name: getattr(cupy_kernels, name) for name in cupy_kernels.__all__}


def forget():
    machine._kernel.cache_clear()
    machine._module.cache_clear()


@pytest.fixture
def plant(monkeypatch):
    """Exchange the words of a fault for as long as a test runs."""
    texts = machine._text

    def planted(fault):
        def text(name):
            right = texts(name)
            if name != fault.file:
                return right
            assert right.count(fault.right) == 1
            return right.replace(fault.right, fault.wrong)

        forget()
        monkeypatch.setattr(machine, "_text", text)

    yield planted
    forget()


def judged(fault, **more):
    halves = {} if fault.dtype == "float32" else {"accumulators": {fault.dtype: "float32"}}
    of = SimpleNamespace(**FUNCTIONS, contract={"dtypes": [fault.dtype], **halves})
    with hostcuda.checking("forward"), algorithms.only(fault.only):
        return gradoracle.check(
            of, operators=[fault.operator], seed=3, stop_at_first_mismatch=True, **more
        )


def test_there_are_faults_of_every_kind():
    kinds = Counter(fault.kind for fault in FAULTS.values())
    assert len(FAULTS) == len(cuda.FAULTS) + len(cuda_operators.FAULTS)
    assert len(FAULTS) >= 70
    kinds.update(fault.kind for fault in cuda_operators.ATTENTION.values())
    assert kinds.keys() >= {
        "race", "divergent barrier", "early return", "tail", "out of bounds", "index overflow",
        "strides", "uninitialised", "grid limit", "launch limit", "misaligned", "absent lane",
        "one pass", "half accumulation", "running maximum",
    }  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_kernel_is_caught(plant, name):
    plant(FAULTS[name])
    found = judged(FAULTS[name]).mismatches
    assert found
    assert "does not compile" not in found[0].headline


@pytest.mark.parametrize("operator", sorted({fault.operator for fault in FAULTS.values()}))
def test_the_kernel_without_the_fault_is_not_flagged(operator):
    fault = next(fault for fault in FAULTS.values() if fault.operator == operator)
    certificate = judged(fault, examples=20)
    assert not certificate.mismatches, certificate.mismatches[0].text


def attention_calls():
    """Yield functions of attention with arguments: small ones, and keys of several tiles."""
    for name, (arrays, options) in cupy_calls.ATTENTION_CALLS.items():
        yield name, arrays, options
    random = np.random.default_rng(0)
    shapes = ((1, 2, 5, 3), (1, 1, 70, 3), (1, 1, 70, 2), (1, 2, 5, 2))
    query, key, value, dy = (random.standard_normal(shape) for shape in shapes)
    rising = np.sort(4 * key, 2)
    name, options = "scaled_dot_product_attention", cupy_calls.ATTENTION
    yield name, (query, rising, value), options
    yield name, (query, key, value, np.zeros((1, 2, 5, 70), bool)), options
    for one in ("query", "key", "value"):
        yield f"{name}_grad_{one}", (dy, query, rising, value), options


def differs(name, arrays, options):
    """Return whether a call ends in a fault, or in other numbers than im2col's."""
    try:
        with hostcuda.checking("forward"):
            got = getattr(cupy_kernels, name)(*arrays, **options)
    except hostcuda.KernelFault:
        return True
    return not np.allclose(got, getattr(im2col, name)(*arrays, **options), rtol=1e-9, atol=1e-12)


def test_attention_without_a_fault_differs_nowhere():
    assert [name for name, *call in attention_calls() if differs(name, *call)] == []


@pytest.mark.parametrize("name", cuda_operators.ATTENTION)
def test_a_fault_in_attention_is_seen_in_a_single_call(plant, name):
    plant(cuda_operators.ATTENTION[name])
    assert any(differs(function, *call) for function, *call in attention_calls())
