"""Kernels with the features of published ones: right ones pass, planted faults are found."""

import shutil

import numpy as np
import pytest

from gradoracle.implementations import hostcuda
from tests import cuda_features
from tests.cuda_features import CALLS, function_of, right, run, wrong

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), [*right()])
@pytest.mark.parametrize("mode", ["fast", "check"])
def test_a_right_kernel_is_left_alone(file, name, mode):
    rng = np.random.default_rng(2)
    orders = hostcuda.ORDERS if mode == "check" else ("forward",)
    with hostcuda.using(hostcuda.Settings(mode, orders)):
        for _ in range(8):
            assert run(file, name, CALLS[file][name](rng))


@pytest.mark.parametrize(("file", "name"), [*wrong()])
def test_a_planted_fault_is_found(file, name):
    rng, call = np.random.default_rng(3), CALLS[file][function_of(file, name)]
    with hostcuda.checking():
        assert not all(passes(file, name, call(rng)) for _ in range(12))


def passes(file, name, call):
    try:
        return run(file, name, call)
    except hostcuda.KernelFault:
        return False


def test_there_are_forty_kernels_and_half_of_them_are_wrong():
    assert len([*right()]) >= 20
    assert len([*wrong()]) >= 20
    assert len({*wrong()} | {*right()}) >= 40
    assert {of for file in CALLS for of in cuda_features.faults(file).values()}
