"""Faults in our own CUDA kernels are caught: by check mode, or by the suite."""

from collections import Counter
from types import SimpleNamespace

import pytest

import gradoracle
from gradoracle.implementations import cupy_kernels, hostcuda
from gradoracle.implementations.cupy_kernels import algorithms, machine
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
