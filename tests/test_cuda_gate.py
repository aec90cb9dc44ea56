"""The kernels compile for GPUs and keep to their limits; that takes no GPU."""

import os

import pytest

from tests import cuda_gate, cuda_limits
from tests.cuda_compilers import NotRun, disassembler
from tests.cuda_gate import Measured

# Every architecture takes a compiler some seconds; CUDA_GATE=all asks for all of them.
ALL = os.environ.get("CUDA_GATE") == "all"
ARCHITECTURES = cuda_limits.ARCHITECTURES if ALL else (cuda_limits.TARGET,)

SASS = """
	.section	.text._Z1fPf,"ax",@progbits
_Z1fPf:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   FFMA R2, R2, R3, R2 ;
.L_x_0:
        /*0020*/                   FFMA R0, R2.reuse, R3, R0 ;
        /*0030*/                   FFMA R0, R2, R3, R0 ;
        /*0040*/                   ISETP.NE.AND P0, PT, R0, RZ, PT ;
        /*0050*/               @P0 BRA `(.L_x_0) ;
        /*0060*/               @P1 BRA `(.L_x_1) ;
        /*0070*/                   EXIT ;
.L_x_2:
        /*0080*/                   BRA `(.L_x_2);
"""
LOG = """
ptxas info    : Compiling entry function '_Z1fIfLi64EEvPT_' for 'sm_90'
ptxas info    : Function properties for _Z1fIfLi64EEvPT_
    24 bytes stack frame, 20 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 24 bytes cumulative stack size, 1536 bytes smem
ptxas info    : Compiling entry function '_Z1gPf' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
"""


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES, ids="sm_{}".format)
@pytest.mark.parametrize("unit", cuda_gate.units(), ids=str)
def test_the_compiler_keeps_to_the_limits(unit, arch):
    try:
        kernels = cuda_gate.measured(unit, arch)
    except NotRun as reason:
        pytest.skip(f"not run: {reason}")
    faults = [fault for kernel in kernels for fault in kernel.faults()]
    assert not faults, "\n".join(faults)


def test_the_main_loops_can_be_read():
    """Without a disassembler the test above knows no share: this one says so."""
    try:
        disassembler()
        kernels = cuda_gate.measured(cuda_gate.units()[0], cuda_limits.TARGET)
    except NotRun as reason:
        pytest.skip(f"shares of the main loops not run: {reason}")
    unread = [k.kernel for k in kernels if k.kernel in cuda_limits.KERNELS and not k.share]
    assert not unread, f"no main loop is found in {unread}"


def test_every_limit_is_of_a_kernel():
    kernels = {expression for unit in cuda_gate.units() for expression in unit.expressions}
    assert set(cuda_limits.KERNELS) <= kernels


def test_every_file_is_compiled():
    assert {unit.file for unit in cuda_gate.units()} == {
        file.name for file in cuda_gate.FOLDER.glob("*.cu")
    }


def test_a_share_is_of_the_innermost_loop():
    assert cuda_gate.main_loops(SASS) == {"_Z1fPf": 0.5}


def test_the_log_of_the_assembler_is_read():
    assert cuda_gate.resources(LOG) == {"_Z1fIfLi64EEvPT_": (40, 44, 1536), "_Z1gPf": (8, 0, 0)}


@pytest.mark.parametrize(
    ("expression", "symbol"),
    [
        ("f<float, 64>", "_Z1fIfLi64EE"),
        ("relu<__half, float, long long>", "_Z4reluI6__halffxE"),
        ("plain", "_Z5plain"),
    ],
)
def test_symbols_begin_like_their_kernels(expression, symbol):
    assert cuda_gate.mangled(expression) == symbol


@pytest.mark.parametrize(
    ("measured", "fault"),
    [
        (Measured("f", 90, 129, 0, 0, None), "129 registers, at most 128 are allowed"),
        (Measured("f", 90, 128, 4, 0, None), "4 spilled bytes, at most 0 are allowed"),
        (Measured("f", 120, 128, 193, 0, None), "193 spilled bytes, at most 192 are allowed"),
        (
            Measured("convolve<float, 128, 128>", 90, 128, 0, 0, 0.7),
            "0.700 of the main loop multiplies",
        ),
        (Measured("convolve<float, 128, 128>", 90, 128, 0, 0, None), None),
    ],
)
def test_what_is_over_a_limit_is_a_fault(measured, fault):
    faults = measured.faults()
    assert [fault in one for one in faults] == ([True] if fault else [])
