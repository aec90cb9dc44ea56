"""Functions that people have become backends; faults behind each adapter are found."""

import inspect
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance import DOMAIN
from gradoracle.conformance.backends.adapters import named
from gradoracle.conformance.backends.adapters.base import FORMULAS, KNOWN
from gradoracle.conformance.backends.adapters.parameters import taken
from gradoracle.conformance.backends.isolation.isolated import Limits
from gradoracle.conformance.backends.registry import (
    COMPILED,
    DEVICES,
    IN_PROCESS,
    UnknownBackend,
    UnusableBackend,
    load,
    path_of,
    registered,
    wrap,
)
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.cli import app
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.runs.certify import run_check
from gradoracle.conformance.runs.fingerprint import files_of
from gradoracle.oracle import (
    avg_pool1d,
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
    linear,
    linear_grad_weight,
)
from gradoracle.oracle.declaration import (
    Composed,
    algebra,
    argument_names,
    evaluate,
    output_of,
    parts_of,
    whole_of,
)
from tests.calls import CALLS, call

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
adapt = gradoracle.adapt
CHECKS = {(f.__name__, p.name): (o, f, p) for o, f, p in checks(OPERATORS)}
STRIDED = call((2, 3, 6, 5), (4, 3, 3, 2), stride=(2, 2), padding=(1, 1), dtype=np.float64)
NEUTRAL = call((2, 3, 6, 5), (4, 3, 3, 2), dtype=np.float64)
EXACT = [
    formula
    for formula in CALLS
    if not isinstance(algebra(formula), Composed)
    and not formula.__name__.startswith(("avg", "batch", "sgd"))  # they divide; PyTorch has none
    and "linear" not in formula.__name__.removeprefix("linear")  # interpolation, which rounds
]


class Layer:
    def forward(self, x):
        return x


class Root(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: adapt.numpy(relu=Layer),
         r"relu must be a function, got the class Layer: .* def relu\(z\): return Layer\(\.\.\.\)\."
         r"forward\(z\)"),
        (lambda: adapt.torch(relu=Layer), "relu must be a function, got the class Layer: write"),
        (lambda: adapt.torch(rms_norm=Root),
         r"Root, which cannot be made without 'dim': .* def rms_norm\(x, weight=None\): "),
        (lambda: adapt.torch(layer_norm=torch.nn.LayerNorm), "made without 'normalized_shape'"),
    ],
)  # fmt: skip
def test_a_class_is_refused_with_the_function_that_would_do(made, message):
    with pytest.raises(ValueError, match=message):
        made()


def norm_of_another_eps(x, weight):
    return torch.nn.functional.rms_norm(x, weight.shape, weight, 1e-6)


def test_the_domain_of_a_run_holds_for_gradients_that_require_an_array(monkeypatch):
    monkeypatch.setenv(DOMAIN, "rms_norm: eps = 1e-06")
    backend = wrap(adapt.torch(rms_norm=norm_of_another_eps))
    operator = KNOWN["rms_norm"]
    for formula in operator.formulas[:3]:
        assert backend.domain_words(formula) == "eps = 1e-06, weight required"
    found = gradoracle.check(backend, operators=["rms_norm"], examples=10, seed=1)
    assert not found.mismatches, found.mismatches[0].text


def answer(backend, formula, given):
    """Return what an adapted function answers, as a NumPy array."""
    convert = getattr(backend, "from_numpy", np.array)
    positional, options = argument_names(formula)
    function, place = output_of(formula)
    arrays = [given[n] if given[n] is None else convert(given[n]) for n in positional]
    got = getattr(backend, function)(*arrays, **{n: given[n] for n in options})
    got = got if place is None else got[place]
    return getattr(backend, "to_numpy", np.asarray)(got)


def require_exact(backend, formula, calls=None):
    """The answers to some calls on integers are the oracle's."""
    for one in calls or CALLS[formula](4, seed=5, dtype=np.float64):
        got, want = answer(backend, formula, one), evaluate(formula, one)
        assert got.shape == want.shape
        assert np.array_equal(got, want)


def outcome(backend, formula, property_name="matches_oracle"):
    """Return what a check of a few calls finds."""
    return run_check(wrap(backend), *CHECKS[formula, property_name], examples=3, seed=1)


def certified(backend, operator):
    return gradoracle.check(backend, operators=[operator], examples=3, seed=1)


# PyTorch


class Relu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, dy):
        return dy * (ctx.saved_tensors[0] > 0)


class SlopeAtZero(Relu):
    """Its gradient lets dy pass where z is 0."""

    @staticmethod
    def backward(ctx, dy):
        return dy * (ctx.saved_tensors[0] >= 0)


class Leaky(torch.autograd.Function):
    """Its forward pass has no context, and an option with a default."""

    @staticmethod
    def forward(z, negative_slope=0.01):
        return torch.where(z > 0, z, z * negative_slope)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.slope = inputs[1]

    @staticmethod
    def backward(ctx, dy):
        return torch.where(ctx.saved_tensors[0] > 0, dy, dy * ctx.slope), None


class Softmax(torch.autograd.Function):
    """Its gradient leaves out the sum."""

    @staticmethod
    def forward(ctx, z, dim):
        p = torch.softmax(z, dim)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.saved_tensors[0], None


@pytest.mark.parametrize("formula", EXACT, ids=lambda f: f.__name__)
def test_functions_and_gradients_of_torch_functional(formula):
    require_exact(adapt.torch(torch.nn.functional), formula)


def test_torch_functional_has_every_function_but_those_pytorch_lacks():
    backend = wrap(adapt.torch(torch.nn.functional))
    at_once = {name for name in FORMULAS if name.endswith("_vjp") and "pool" not in name}
    several = {of.name for of in KNOWN.values() if len(parts_of(whole_of(of.formula))) > 1}
    rotary = {name for name in FORMULAS if name.startswith("rotary_embedding")}
    assert {*FORMULAS} - {*backend.functions} == several | rotary | at_once
    for name in backend.functions:
        shown = inspect.signature(getattr(backend.asked.source, name)).parameters
        _, formula = FORMULAS[name]
        assert tuple(shown) == sum(argument_names(formula), ())


@pytest.mark.parametrize(
    ("operator", "function"),
    [("relu", Relu), ("relu", Relu.apply), ("relu", torch.nn.ReLU), ("relu", torch.nn.ReLU()),
     ("leaky_relu", Leaky), ("leaky_relu", torch.nn.LeakyReLU), ("softmax", torch.nn.Softmax)],
)  # fmt: skip
def test_autograd_functions_and_modules_are_certified(operator, function):
    assert certified(adapt.torch(**{operator: function}), operator).passed


@pytest.mark.parametrize(
    ("formula", "module"),
    [("conv2d", torch.nn.Conv2d), ("conv_transpose2d", torch.nn.ConvTranspose2d),
     ("linear", torch.nn.Linear)],
)  # fmt: skip
def test_weights_take_the_place_of_those_of_a_module(formula, module):
    backend = adapt.torch(**{formula: module})
    for name in (
        formula,
        f"{formula}_grad_input",
        f"{formula}_grad_weight",
        f"{formula}_grad_bias",
    ):
        require_exact(backend, FORMULAS[name][1])


def test_a_wrong_backward_is_found():
    found = certified(adapt.torch(relu=SlopeAtZero), "relu").mismatches
    assert {one.formula for one in found} == {"relu_grad"}
    assert "relu'(0) = 0" in found[0].text
    assert outcome(adapt.torch(softmax=Softmax), "softmax_grad", "within_rounding_bound").mismatch
    assert not outcome(adapt.torch(softmax=Softmax), "softmax", "within_rounding_bound").mismatch


def test_a_wrong_forward_is_found_through_its_gradient():
    def swapped(x, weight, bias=None, *, stride, padding, dilation, groups):
        return torch.conv2d(x, weight.flip(2), bias, stride, padding, dilation, groups)

    backend = adapt.torch(conv2d=swapped)
    for formula in ("conv2d", "conv2d_grad_input", "conv2d_grad_weight"):
        assert outcome(backend, formula).mismatch
    assert outcome(backend, "conv2d_grad_bias").status == "passed"


def test_what_is_no_tensor_is_reported():
    found = outcome(adapt.torch(relu=lambda z: z.tolist()), "relu")
    assert "want a NumPy array" in found.mismatch.text


def test_halves_come_and_go():
    pytest.importorskip("ml_dtypes")
    backend = adapt.torch(
        relu=torch.relu, dtypes=["bfloat16", "float16"],
        contract={"accumulators": {"bfloat16": "float32", "float16": "float32"}},
    )  # fmt: skip
    certificate = certified(backend, "relu")
    assert certificate.passed
    assert all(o.calls["bfloat16"] and o.calls["float16"] for o in certificate.outcomes if o.calls)


def test_compiled_functions_never_fall_back_to_the_plain_one(monkeypatch):
    counters = pytest.importorskip("torch._dynamo.utils").counters
    traced = partial(torch.compile, backend="eager")  # the graphs of Dynamo without a compiler
    monkeypatch.setattr(torch, "compile", traced)
    made, calls = adapt.torch(softmax=torch.nn.functional.softmax, compile=True), 0
    counters.clear()
    for axes in range(1, 6):
        for axis in range(axes):
            made.softmax(torch.ones((2, 3, 4, 5, 6)[:axes]), axis=axis)
            calls += 1
    assert counters["stats"]["unique_graphs"] == calls == 15


def test_indices_come_from_what_names_them():
    def anything(x, **options):
        return torch.nn.functional.max_pool2d(x, **options)

    assert hasattr(adapt.torch(max_pool2d=torch.nn.functional.max_pool2d), "max_pool2d_grad_input")
    made = wrap(adapt.torch(max_pool2d=anything))
    assert made.functions == ("max_pool2d", "max_pool2d_vjp")
    assert outcome(made, "max_pool2d_values").status == "passed"


# What a callable takes


def plain(x, w, stride=1, padding=0):
    """A convolution without bias, dilation and groups."""
    return torch.conv2d(x, w, None, stride, padding)


def needs_bias(x, w, b):
    return torch.conv2d(x, w, b)


def test_the_signature_is_the_protocols_without_what_is_not_taken():
    made = adapt.torch(conv2d=plain)
    assert str(inspect.signature(made.conv2d)) == "(x, weight, *, stride, padding)"
    shown = str(inspect.signature(made.conv2d_grad_weight))
    assert shown == "(grad_output, x, *, weight_shape, stride, padding)"
    assert not hasattr(made, "conv2d_grad_bias")
    made = adapt.torch(conv2d=needs_bias)
    assert str(inspect.signature(made.conv2d)) == "(x, weight, bias)"


def test_an_option_that_is_not_taken_has_its_neutral_value():
    ones = torch.ones(1, 1, 3, 3)
    options = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    made = adapt.torch(conv2d=plain)
    assert made.conv2d(ones, ones, None, **options).shape == (1, 1, 1, 1)
    assert made.conv2d(ones, ones, stride=(1, 1), padding=(1, 1)).shape == (1, 1, 3, 3)
    with pytest.raises(NotImplementedError, match=r"dilation=\(1, 2\): plain takes no dilation"):
        made.conv2d(ones, ones, None, **{**options, "dilation": (1, 2)})
    with pytest.raises(NotImplementedError, match="plain takes no bias"):
        made.conv2d(ones, ones, ones[0, 0, 0], **options)
    with pytest.raises(NotImplementedError, match="needs_bias has no default"):
        adapt.torch(conv2d=needs_bias).conv2d(ones, ones, None, **options)


def test_gradients_of_what_takes_a_part():
    for formula in (conv2d_grad_input, conv2d_grad_weight):
        require_exact(adapt.torch(conv2d=plain), formula, [STRIDED, NEUTRAL])
    for formula in (conv2d_grad_input, conv2d_grad_weight, conv2d_grad_bias):
        require_exact(adapt.torch(conv2d=needs_bias), formula, [NEUTRAL])


@pytest.mark.parametrize(
    ("functions", "reason"),
    [
        ({}, "adapt.torch needs a function by the protocol's name"),
        ({"conv2": plain}, "no operator has a function 'conv2' (did you mean 'conv2d'?)"),
        ({"conv2d_vjp": plain}, "'conv2d_vjp' (those of conv2d are conv2d, conv2d_grad_input, "),
        ({"conv2d": 3}, "conv2d must be a callable, got 3"),
        ({"conv2d": lambda x: x}, "must take the arrays x, weight; it takes (x)"),
        ({"relu": lambda z, scale: z}, "needs an argument 'scale'"),
        ({"max_pool2d": lambda x: x}, "<lambda>(x) needs a parameter named 'kernel_size'"),
    ],
)
def test_what_does_not_fit_is_said(functions, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        adapt.torch(**functions)


def test_an_own_gradient_takes_the_place_of_autograd():
    made = adapt.torch(relu=torch.relu, relu_grad=lambda dy, z: dy * (z >= 0))
    assert outcome(made, "relu_grad").mismatch


def test_parameters_are_read_from_docstrings_where_there_is_no_signature():
    it = taken(torch.conv2d, ("x", "weight", "bias"), ("bias",), ("stride", "groups"))
    assert it.arrays == {"x": "input", "weight": "weight", "bias": "bias"}
    assert it.options == {"stride": "stride", "groups": "groups"}


# NumPy


def course_conv(x, w, b=0, stride=1, padding=0):
    """One image [H, W, C], weight [KH, KW, C, M], as courses write it."""
    rows, columns, channels, filters = w.shape
    if x.ndim != 3 or x.shape[2] != channels:
        raise ValueError("channels do not fit")
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    high, wide = (x.shape[0] - rows) // stride + 1, (x.shape[1] - columns) // stride + 1
    y = np.zeros((high, wide, filters), x.dtype)
    for i in range(high):
        for j in range(wide):
            window = x[i * stride : i * stride + rows, j * stride : j * stride + columns]
            y[i, j] = np.tensordot(window, w, 3)
    return y + b


def course_grad_weight(dy, x, *, weight_shape):
    rows, columns, _, _ = weight_shape
    dw = np.zeros(weight_shape, x.dtype)
    high, wide, _ = dy.shape
    for p in range(rows):
        for q in range(columns):
            dw[p, q] = np.tensordot(x[p : p + high, q : q + wide], dy, ([0, 1], [0, 1]))
    return dw


def turned(x, w, b=0, stride=1, padding=0):
    return course_conv(x, w[::-1, ::-1], b, stride, padding)


COURSE = {"layout": "HWC", "pairs": False}


def test_course_code_of_one_image_with_channels_last():
    made = adapt.numpy(conv2d=course_conv, conv2d_grad_weight=course_grad_weight, **COURSE)
    require_exact(made, conv2d, [STRIDED])
    require_exact(made, conv2d_grad_weight, [NEUTRAL])
    made = adapt.numpy(conv2d=turned, flipped=True, **COURSE)
    require_exact(made, conv2d, [STRIDED])
    assert outcome(made, "conv2d").status == "passed"


def test_a_flipped_kernel_and_another_layout_are_found():
    found = outcome(adapt.numpy(conv2d=turned, **COURSE), "conv2d").mismatch
    assert "the kernel is flipped" in found.text
    wrong = {**COURSE, "layout": "CHW"}
    assert outcome(adapt.numpy(conv2d=course_conv, **wrong), "conv2d").mismatch
    right = adapt.numpy(conv2d=course_conv, flipped=True, **COURSE)
    assert outcome(right, "conv2d").mismatch


def test_one_number_for_a_pair_takes_equal_numbers_only():
    made = adapt.numpy(conv2d=course_conv, **COURSE)
    x = np.ones((1, 1, 3, 3))
    with pytest.raises(NotImplementedError, match=r"stride=\(1, 2\): course_conv takes one number"):
        made.conv2d(x, x, None, stride=(1, 2), padding=(0, 0))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CHW", "HWC"])
@pytest.mark.parametrize("weights", ["OIHW", "HWIO", "OHWI"])
def test_every_layout_arrives_as_it_is_called(layout, weights):
    seen = []

    def spy(x, w, *, input_shape=None):
        seen.append((x.shape, w.shape, input_shape))
        return np.zeros(input_shape)

    made = adapt.numpy(conv2d_grad_input=spy, layout=layout, weights=weights)
    dy, w, shape = np.ones((2, 3, 4, 5)), np.ones((3, 7, 1, 2)), (2, 7, 4, 6)
    assert made.conv2d_grad_input(dy, w, input_shape=shape).shape == shape
    size = {"N": 2, "C": 3, "H": 4, "W": 5}
    image = tuple(size[letter] for letter in layout)
    whole = tuple({"N": 2, "C": 7, "H": 4, "W": 6}[letter] for letter in layout)
    filters = tuple({"O": 3, "I": 7, "H": 1, "W": 2}[letter] for letter in weights)
    assert seen == [(image, filters, whole)] * (1 if "N" in layout else 2)


def test_an_empty_batch_one_image_at_a_time():
    made = adapt.numpy(
        linear=lambda x, w, b=None: w @ x if b is None else w @ x + b,
        linear_grad_weight=np.outer, batch=False,
    )  # fmt: skip
    for formula in (linear, linear_grad_weight):
        require_exact(made, formula)
    assert made.linear(np.ones((0, 2)), np.ones((3, 2))).shape == (0, 3)
    none = made.linear_grad_weight(np.ones((0, 3)), np.ones((0, 2)))
    assert np.array_equal(none, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="different numbers of images"):
        made.linear_grad_weight(np.ones((1, 3)), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"layout": "NWHC"}, "layout must be one of"), ({"weights": "IOHW"}, "weights must be"),
     ({"layout": "HWC", "batch": True}, "have no batch axis N")],
)  # fmt: skip
def test_layouts_that_there_are_not(options, reason):
    with pytest.raises(ValueError, match=reason):
        adapt.numpy(conv2d=course_conv, **options)


# JAX


def test_jax_is_certified_and_a_wrong_rule_is_found():
    jax = pytest.importorskip("jax")
    made = adapt.jax(relu=jax.nn.relu)
    assert outcome(made, "relu_grad").status == "passed"

    @jax.custom_vjp
    def wrong(z):
        return jax.nn.relu(z)

    wrong.defvjp(lambda z: (wrong(z), z), lambda z, dy: (dy * (z >= 0),))
    assert outcome(adapt.jax(relu=wrong), "relu_grad").mismatch
    assert outcome(adapt.jax(relu=wrong, jit=False), "relu").status == "passed"


def test_a_convolution_of_jax_in_both_precisions():
    jax = pytest.importorskip("jax")

    def conv(x, w, *, stride, padding):
        pairs = [(p, p) for p in padding]
        return jax.lax.conv_general_dilated(x, w, stride, pairs)

    made = adapt.jax(conv2d=conv, dtypes=["float32", "float64"])
    for formula in (conv2d_grad_input, conv2d_grad_weight):
        require_exact(made, formula, [STRIDED])
    before = np.asarray(jax.numpy.ones(1)).dtype
    assert before == np.float32  # outside of it, JAX is as it was


# Names, processes and the command

OPS = """
import torch

def relu(z):
    return z.clamp(min=0)

def right(z):
    return torch.relu(z)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_ops.py").write_text(OPS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("target", ["my_ops:right", "./my_ops.py:right"])
def test_functions_are_loaded_by_name_in_a_process_of_their_own(folder, target):
    name = f"torch!relu={target}"
    backend = load(name)
    try:
        assert backend.functions == ("relu", "relu_grad")
        assert run_check(backend, *CHECKS["relu_grad", "matches_oracle"], examples=3, seed=1)
        assert list(files_of(path_of(name))) == ["my_ops.py"]
    finally:
        backend.asked.close()


def test_a_module_and_a_function_that_has_the_name(folder):
    assert load("torch!my_ops", IN_PROCESS).functions == ("relu", "relu_grad")
    assert load("torch!my_ops:relu", IN_PROCESS).functions == ("relu", "relu_grad")
    (folder / "ours.py").write_text("def linear_grad_bias(dy): return dy.sum(0)")
    assert load("numpy!./ours.py", IN_PROCESS).functions == ("linear_grad_bias",)


def test_the_command_finds_a_fault_and_its_certificate_can_be_replayed(folder):
    command = [
        "certify", "--torch", "my_ops:relu", "--operators", "relu", "--profile", "quick",
        "--seed", "1", "--certificate", "c.json",
    ]  # fmt: skip
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1, done.output
    assert "gradoracle certify 'torch!my_ops:relu'" in done.output
    assert "gradoracle replay c.json 1" in done.output
    told = json.loads((folder / "c.json").read_text())
    assert told["backend"] == "torch!my_ops:relu"
    found = next(o["mismatch"] for o in told["outcomes"] if o["mismatch"])
    assert "--backend 'torch!my_ops:relu'" in found["repro"]
    shown = subprocess.run(
        [sys.executable, "-c", found["script"]], capture_output=True, text=True, check=False
    )
    assert "AssertionError" in shown.stderr
    again = CliRunner().invoke(app, ["replay", "c.json"])
    assert again.exit_code == 1
    assert "STILL there" in again.output


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--torch", "relu=m:f", "--device", "cuda"], "torch!relu=m:f,device=cuda"),
        (["--torch", "a,b", "--compile"], "torch!a,b,compile=yes"),
        (["--numpy", "m", "--layout", "HWC", "--no-batch", "--flipped", "--no-pairs"],
         "numpy!m,layout=HWC,batch=no,flipped=yes,pairs=no"),
        (["--jax", "m", "--no-jit", "--dtypes", "float32,float64"],
         "jax!m,jit=no,dtypes=float32+float64"),
    ],
)  # fmt: skip
def test_options_become_a_name(folder, monkeypatch, arguments, name):
    asked = []

    def certify(order, *_):
        asked.append(order.name)
        raise UnknownBackend(order.name)

    monkeypatch.setattr("gradoracle.conformance.runs.command.certify", certify)
    monkeypatch.setattr("gradoracle.conformance.backends.registry.located", lambda _: ("m", "m"))
    done = CliRunner().invoke(app, ["certify", "--in-process", *arguments])
    assert done.exit_code == 2
    assert asked == [name]
    adapter, _, text = name.partition("!")
    named.split(adapter, text)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [([], "name a backend, or functions"), (["im2col", "--layout", "HWC"], "of --numpy only")],
)
def test_options_without_functions_are_refused(folder, arguments, reason):
    done = CliRunner().invoke(app, ["certify", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert reason in done.output


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torch!", "names no function"), ("torch!compile=maybe,m", "compile must be yes or no"),
        ("torch!relu=no_such_module:f", "no module for 'no_such_module:f'"),
        ("torch!relu=./nothing.py:f", "there is no file 'nothing.py'"),
        ("torch!relu=os:system!x", "no module for"), ("tensorflow!m", "no backend 'tensorflow!m'"),
    ],
)  # fmt: skip
def test_names_that_are_none(folder, name, reason):
    with pytest.raises(UnknownBackend) as error:
        load(name, IN_PROCESS)
    assert reason in str(error.value)


def test_devices_are_registered_and_refuse_in_one_sentence():
    assert {*DEVICES} <= {*registered()}
    assert registered()["torch@cuda"].distribution == "gradoracle"
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UnusableBackend, match="finds no device 'cuda' here$"):
        load("torch@cuda", IN_PROCESS)
    with pytest.raises(UnusableBackend, match="cannot use the device 'nothing' here: "):
        load("torch!torch.nn.functional,device=nothing", IN_PROCESS)


def test_what_compiles_has_time_and_a_compiler(monkeypatch):
    backend = load("torch@inductor")
    try:
        assert backend.asked.limits.call == COMPILED
    finally:
        backend.asked.close()
    assert load("torch!torch.nn.functional").asked.limits.call == Limits.call
    monkeypatch.setenv("PATH", str(Path(__file__).parent))
    with pytest.raises(UnusableBackend, match=r"needs a C\+\+ compiler here"):
        load("torch@inductor", IN_PROCESS)


@pytest.mark.parametrize(("module", "extra"), [("torch", "torch"), ("jax", "jax")])
def test_a_missing_library_names_the_extra(monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'gradoracle\[{extra}\]'"):
        getattr(adapt, module)(relu=abs)


def test_gradients_of_averages_are_autograds():
    assert outcome(adapt.torch(avg_pool1d=torch.avg_pool1d), "avg_pool1d_grad_input").status == (
        "passed"
    )
    assert output_of(avg_pool1d).function == "avg_pool1d"
