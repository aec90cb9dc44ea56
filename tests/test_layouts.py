"""Every layout is an equal array that lies otherwise, and is checked: all arguments so, or one."""

import shutil
import subprocess
import sys
from mmap import PAGESIZE
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.drawing.memory_layouts import (
    EXPANDED,
    LAYOUTS,
    PLACES,
    differs,
    expansions,
    laid,
    odd_strides,
    one_each,
)
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.loss import CROSS_ENTROPY
from gradoracle.conformance.operators.textbook import with_ones
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.properties.interface import _level
from gradoracle.implementations import im2col

SHAPES = [(), (1,), (5,), (2, 3), (1, 4), (3, 1, 2), (2, 1, 3, 4), (2, 4, 1, 3)]


def placement(array):
    """What tells where an array's elements lie, and whether it can be written."""
    steps = tuple(s for s, n in zip(array.strides, array.shape, strict=True) if n > 1)
    loose = tuple(s for s, n in zip(array.strides, array.shape, strict=True) if n == 1)
    start, end = array.ctypes.data, array.ctypes.data + array.nbytes
    beside = start % PAGESIZE == 0, end % PAGESIZE == 0  # of memory that is guarded
    return steps, loose, start % 16, array.flags.writeable, beside


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_layout_keeps_the_numbers_and_moves_them(layout, dtype):
    moved = 0
    for shape in SHAPES:
        array = np.arange(1, 1 + np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        other = laid(array, layout)
        assert (other.shape, other.dtype) == (shape, dtype)
        assert (other == array).all()
        assert not np.shares_memory(other, array)
        if differs(layout, shape) and array.size > 1:
            own = [np.array(array) for _ in range(3)]  # one may begin a page by chance
            assert any(placement(other) != placement(one) for one in own), shape
            moved += 1
    assert moved >= 2


def test_layouts_are_unlike_each_other():
    array = np.arange(120.0).reshape(2, 3, 4, 5)
    names = [name for name in LAYOUTS if differs(name, array.shape)]
    assert len({placement(laid(array, name)) for name in names}) == len(names) == len(LAYOUTS) - 1


def test_expanded_has_no_memory_of_its_own():
    array = np.full((2, 3), 7.0)
    other = laid(array, EXPANDED)
    assert other.strides == (0, 0)
    assert (other == array).all()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4, 5), (1, 3, 1, 1), (2, 1, 1, 4)])
def test_one_place_along_each_axis_is_among_the_expansions(shape):
    seen = set()
    for layout, axes in expansions(shape):
        array = _level(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), axes)
        other = laid(array, layout)
        assert (other == array).all()
        assert all(other.strides[axis] == 0 for axis in axes)
        kept = [axis for axis, side in enumerate(shape) if side > 1 and axis not in axes]
        assert all(other.strides[axis] for axis in kept)
        seen.add(tuple(axis for axis in axes if shape[axis] > 1))
    long = tuple(axis for axis, side in enumerate(shape) if side > 1)
    assert long in seen
    last = len(shape) - 1
    assert {(axis,) for axis in (0, 1, last) if axis in long} <= seen


def test_arrays_of_a_place_have_one_address_whatever_their_shape_and_dtype():
    first = laid(np.ones((2, 3), np.float32), PLACES[0])
    again = laid(np.full((3, 1), 7.0), PLACES[0])
    other = laid(np.ones(3), PLACES[1])
    assert first.ctypes.data == again.ctypes.data != other.ctypes.data
    assert again.ravel().tolist() == [7.0, 7.0, 7.0]
    assert laid(np.ones(()), PLACES[0]).shape == ()
    assert laid(np.empty((0, 2)), PLACES[0]).shape == (0, 2)
    large = laid(np.ones(10**5), PLACES[0])
    assert large.sum() == 10**5


def test_empty_arrays_lie_as_they_are():
    for layout in LAYOUTS:
        assert laid(np.empty((0, 3, 1, 2)), layout).shape == (0, 3, 1, 2)


@pytest.mark.parametrize(
    ("layouts", "each"),
    [
        ("", ["", "", ""]),
        ("fortran", ["fortran"] * 3),
        (",sliced", ["", "sliced", ""]),
        ("fortran,", ["fortran", "", ""]),
        ("fortran,sliced,offset", ["fortran", "sliced", "offset"]),
    ],
)
def test_one_each(layouts, each):
    assert one_each(layouts, 3) == each


class Own:
    """An array of a backend's kind, which NumPy's functions do not know."""

    def __init__(self, array):
        self.array = array

    shape = property(lambda self: self.array.shape)

    def __getitem__(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, slice) and (k.step or 1) < 0 for k in keys):
            raise ValueError("step must be greater than zero")
        return Own(self.array[key])

    def permute(self, *axes):
        return Own(self.array.transpose(axes))

    def reshape(self, shape):
        return Own(self.array.reshape(shape))


def own_kind(**replaced):
    """im2col on arrays of its own, which copy whatever NumPy gives them in order."""

    def asked(function):
        def call(*arrays, **options):
            return Own(function(*(a.array if isinstance(a, Own) else a for a in arrays), **options))

        return call

    functions = {n: getattr(im2col, n) for n in ("conv2d", "relu")} | replaced
    return SimpleNamespace(
        from_numpy=lambda a: Own(np.ascontiguousarray(a)), to_numpy=lambda own: own.array,
        **{name: asked(function) for name, function in functions.items()},
    )  # fmt: skip


def reads_the_weight_as_it_lies(x, weight, bias=None, **options):
    return im2col.conv2d(x, weight.ravel(order="K").reshape(weight.shape), bias, **options)


def checked(backend):
    return gradoracle.check(backend, operators=["conv2d"], examples=60, seed=1)


@pytest.mark.slow
def test_arrays_of_its_own_kind_are_laid_so_too():
    assert not checked(own_kind()).mismatches
    (found,) = checked(own_kind(conv2d=reads_the_weight_as_it_lies)).mismatches
    assert found.property_name == "ignores_memory_layout"
    assert found.headline.endswith("; weight lies in Fortran's order, the first axis innermost")
    assert "weight = own_laid(weight, fortran)" in found.script
    assert "backend.conv2d(backend.from_numpy(x), weight, bias," in found.script


REFUSES_BACKWARDS = """
import numpy as np

class Tensor:
    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __getitem__(self, at):
        if any(isinstance(one, slice) and (one.step or 1) < 0 for one in np.atleast_1d(at)):
            raise ValueError("step must be greater than zero")
        return Tensor(self.array[at])

def from_numpy(array):
    if any(stride < 0 for stride in array.strides):
        raise ValueError("at least one stride is negative")
    return Tensor(array)

to_numpy = lambda tensor: tensor.array
relu = lambda tensor: Tensor(np.maximum(tensor.array, 0))
"""


def test_a_script_lays_arrays_that_cannot_be_viewed_backwards_as_the_check_does(
    tmp_path, monkeypatch
):
    (tmp_path / "refuses_backwards.py").write_text(REFUSES_BACKWARDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    certificate = gradoracle.check("refuses_backwards", operators=["relu"], examples=60, seed=1)
    (found,) = certificate.mismatches
    assert "its from_numpy raised ValueError: at least one stride is negative" in found.headline
    run = subprocess.run(
        [sys.executable, "-c", found.script], capture_output=True, text=True, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "ValueError: at least one stride is negative"
    copies = REFUSES_BACKWARDS.replace("any(stride < 0 for stride in array.strides)", "False")
    mended = copies.replace("Tensor(array)", 'Tensor(np.array(array, order="C"))')
    (tmp_path / "refuses_backwards.py").write_text(mended)
    run = subprocess.run([sys.executable, "-c", found.script], check=False, cwd=tmp_path)
    assert run.returncode == 0


def test_the_copy_that_the_readme_recommends_is_in_order_on_axes_of_size_1():
    recipe = 'np.array(a, order="C")'
    readme = Path(__file__).parents[1] / "conformance" / "backends" / "README.md"
    assert recipe in readme.read_text(encoding="utf-8")
    odd = odd_strides(np.ones((1, 1, 2), np.float32))
    assert odd.strides[1] < 0
    assert eval(recipe, {"np": np, "a": odd}).strides == (8, 8, 4)  # noqa: S307 - our own words


@pytest.mark.slow
def test_whoever_has_numpys_arrays_may_put_them_in_order():
    backend = SimpleNamespace(from_numpy=np.ascontiguousarray, conv2d=reads_the_weight_as_it_lies)
    assert not checked(backend).mismatches


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_lies_in_one_place_is_a_legal_call(dtype):
    impossible = np.array([[0, -np.inf]], dtype)
    call = {"logits": impossible, "target": np.array([0]), "reduction": "sum"}
    call["grad_output"] = np.ones((), dtype)
    check = PROPERTIES["ignores_memory_layout"].check
    for formula in CROSS_ENTROPY.formulas:
        assert check(wrap(im2col), CROSS_ENTROPY, formula, call) == 0


def declines_backwards(z):
    if any(stride < 0 for stride in z.strides):
        raise NotImplementedError("negative strides")
    if z.ndim > 1 and z.flags.f_contiguous and not z.flags.c_contiguous:
        return im2col.relu(z.ravel(order="K").reshape(z.shape))
    return im2col.relu(z)


def test_what_one_layout_is_declined_for_hides_no_other():
    found = gradoracle.check(SimpleNamespace(relu=declines_backwards), examples=100, seed=1)
    assert [m.property_name for m in found.mismatches] == ["ignores_memory_layout"]


def test_what_is_declined_is_not_passed():
    backend = SimpleNamespace(
        relu=lambda z: declines_backwards(z) if z.ndim < 2 else im2col.relu(z)
    )
    (outcome,) = (
        o
        for o in gradoracle.check(backend, operators=["relu"], examples=100, seed=1).outcomes
        if (o.formula, o.property_name) == ("relu", "ignores_memory_layout")
    )
    assert outcome.declined > 0


@pytest.mark.slow
def test_pytorch_is_given_elements_in_order_where_it_would_read_address_0():
    """In a process of its own: PyTorch 2.13 ends it where channels lie together."""
    script = """
import numpy as np
from gradoracle.implementations import torch_reference as backend
x = np.ones((3, 2, 1, 2), np.float32).transpose(0, 3, 1, 2)
weight, options = np.ones((3, 2, 2, 1), np.float32), {"stride": (3, 2), "padding": (0, 1)}
arrays = backend.from_numpy(x), backend.from_numpy(weight)
assert arrays[0].stride() == (4, 1, 2, 2), arrays[0].stride()
print([*backend.conv2d(*arrays, None, **options, dilation=(1, 2), groups=1).shape])
"""
    pytest.importorskip("torch")
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout.strip()) == (0, "[3, 3, 1, 2]"), run.stderr


# -- right beside memory that may be neither read nor written --------------------------------------

NATIVE = """
void relu(const float *z, float *y, long n) {
    for (long i = 0; i < n; i += 4) {
        float four[4];
        for (long k = 0; k < 4; k++) four[k] = %s ? z[%s] : 0;
        for (long k = 0; k < 4 && i + k < n; k++) y[i + k] = four[k] > 0 ? four[k] : 0;
    }
}
"""
CALLER = """
import ctypes
import numpy as np

contract = {{"dtypes": ["float32"]}}
library = ctypes.CDLL({library!r})


def relu(z):
    given = z if z.flags.c_contiguous else z.copy()
    y = np.empty_like(given)
    library.relu(*(ctypes.c_void_p(a.ctypes.data) for a in (given, y)), ctypes.c_long(z.size))
    y[np.isnan(given)] = np.nan
    return y
"""
READS = {
    "past the end": ("1", "i + k", "before a page"),
    "before the start": ("i + k < n", "i + k == 0 && z[-1] > 1e30f ? 0 : i + k", "crashed"),
}


def native(folder, condition, index):
    """Return the file of a backend whose relu is C."""
    (folder / "relu.c").write_text(NATIVE % (condition, index))
    library = folder / "librelu.so"
    command = ["cc", "-O0", "-shared", "-fPIC", "-o", str(library), str(folder / "relu.c")]
    subprocess.run(command, check=True)
    file = folder / "native_relu.py"
    file.write_text(CALLER.format(library=str(library)))
    return file


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cc"), reason="no compiler")
@pytest.mark.parametrize("side", READS)
def test_a_read_outside_of_an_argument_is_a_crash_that_says_which_side(side, tmp_path):
    condition, index, said = READS[side]
    found = gradoracle.check(native(tmp_path, condition, index), operators=["relu"], examples=20)
    headlines = [one.mismatch.headline for one in found.outcomes if one.mismatch]
    assert headlines
    assert "crashed" in headlines[0]
    assert said in headlines[0]  # an argument may begin a page in other checks, too


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cc"), reason="no compiler")
def test_native_code_that_stays_inside_passes(tmp_path):
    found = gradoracle.check(native(tmp_path, "i + k < n", "i + k"), operators=["relu"])
    assert not [one for one in found.outcomes if one.status == "mismatch"]


def test_an_image_of_one_pixel_is_among_the_layouts_of_every_operator_on_planes():
    """PyTorch reads a weight with strides as if it were dense there: tests/studies/faults."""
    for name in ("batch_norm", "prelu", "adaptive_avg_pool3d", "max_pool2d"):
        operator = next(one for one in OPERATORS if one.name == name)
        listed = (operator.arguments(g.sizes).shapes for g in with_ones(operator, operator.formula))
        one_pixel = [s["x"] for s in listed if set(s["x"][2:]) == {1} and min(s["x"][:2]) > 1]
        assert one_pixel, name


def test_a_weight_that_is_read_as_dense_for_one_pixel_is_caught():
    def batch_norm_grad_x(grad_output, x, running_mean, running_var, weight=None, *, training, eps):
        if weight is not None and x.shape[2:] == (1, 1):
            weight = np.lib.stride_tricks.as_strided(weight, strides=(weight.itemsize,))
        return im2col.batch_norm_grad_x(
            grad_output, x, running_mean, running_var, weight, training=training, eps=eps
        )

    operator = next(one for one in OPERATORS if one.name == "batch_norm")
    formula = next(f for f in operator.formulas if f.__name__ == "batch_norm_grad_x")
    for seed in range(1, 6):
        backend = wrap(SimpleNamespace(batch_norm_grad_x=batch_norm_grad_x))
        outcome = examine(
            backend, operator, formula, PROPERTIES["ignores_memory_layout"], examples=25, seed=seed
        )
        assert outcome.status == "mismatch", seed
