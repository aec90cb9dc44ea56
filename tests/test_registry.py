"""Backends are found by name, by path or at hand; what cannot be used says why in one line."""

import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

import gradoracle
from gradoracle.conformance.backends import registry
from gradoracle.conformance.backends.backend import FUNCTIONS, FURTHER
from gradoracle.conformance.backends.registry import (
    IN_PROCESS,
    ISOLATED,
    Confinement,
    UnknownBackend,
    UnusableBackend,
    load,
    registered,
    wrap,
)


@pytest.fixture
def modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


# All gradients of these at once are each gradient by itself, and nothing that is shared.
ONE_BY_ONE = tuple(
    f"{name}_vjp"
    for name in (
        "group_norm", "instance_norm", "rms_norm", "prelu", "huber_loss", "l1_loss", "mse_loss",
        "soft_target_cross_entropy", "add", "scatter_add",
    )
)  # fmt: skip


@pytest.mark.slow
def test_shipped_backends_are_known_without_installation(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    assert {"im2col", "torch", "oracle", "cupy", "cupy@host"} <= set(registered())
    for name in ("im2col", "torch", "oracle"):
        left = () if name == "oracle" else ONE_BY_ONE
        assert load(name).functions == tuple(n for n in FUNCTIONS if n not in left)
    assert len(FUNCTIONS) == len(set(FUNCTIONS)) == 257


OF_TORCH = {"contract", "from_numpy", "to_numpy"}


def test_shipped_backends_export_the_protocol_and_their_arrays():
    for name in ("im2col", "torch", "oracle"):
        source = load(name, IN_PROCESS).asked.source
        extra = {"im2col": {"contract"}, "torch": OF_TORCH}.get(name)
        extra = {*(extra or ()), *(one for one in FURTHER if hasattr(source, one))}
        left = () if name == "oracle" else ONE_BY_ONE
        assert set(source.__all__) == {*FUNCTIONS, *extra} - {*left}
        assert [*source.__all__] == sorted(source.__all__)


def test_import_paths(modules):
    name = modules("paths_a", "def conv2d_grad_bias(dy): ...\nclass inner:\n  conv2d = print")
    assert load(name).functions == ("conv2d_grad_bias",)
    assert load(f"{name}:inner").functions == ("conv2d",)


def test_unknown_name_lists_what_there_is_the_nearest_and_how_to_register():
    with pytest.raises(UnknownBackend) as error:
        load("im2cool")
    message = str(error.value)
    assert message.startswith("no backend 'im2cool' (did you mean 'im2col'?); registered: ")
    assert '[project.entry-points."gradoracle.backends"]' in message
    assert "import path such as mypkg.kernels" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_like_this", "ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        ("contract = {'dtypes': ['int8']}", "dtype 'int8' is unknown; pick from ['float16', "),
        (
            "contract = {'function': []}",
            "contract key 'function' is unknown; pick from ['functions'",
        ),
        ("contract = {'functions': ['conv4d']}", "function 'conv4d' is unknown; pick from"),
        ("contract = {'dtypes': []}", "contract claims no dtype"),
        ("contract = 3", "contract must be a dict"),
        ("contract = {'accumulators': {'float32': 'f99'}}", "accumulator of float32 'f99'"),
        (
            "contract = {'accumulators': {'float64': 'float16'}}",
            "accumulator of float64 'float16' holds less than float64",
        ),
        (
            "contract = {'accumulators': 3}",
            "contract's accumulators must be a dict of names, got 3",
        ),
        ("contract = {'policies': ['nan']}", "contract's policies must be a dict of names, got"),
        ("contract = {'functions': 3}", "contract's functions must be a list of names, got 3"),
        ("contract = {'dtypes': 'float32'}", "contract's dtypes must be a list of names, got"),
    ],
)
def test_backend_that_cannot_be_used_says_why_in_one_line(modules, text, reason):
    name = modules(f"broken_{abs(hash(text))}", text)
    with pytest.raises(UnusableBackend) as error:
        load(name)
    assert reason in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_attribute_of_a_path():
    with pytest.raises(UnusableBackend, match="has no attribute 'nothing'"):
        load("gradoracle.implementations.im2col:nothing")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    monkeypatch.delitem(
        __import__("sys").modules, "gradoracle.implementations.torch_reference", raising=False
    )
    for confinement in (IN_PROCESS, Confinement(forbidden=("torch",))):
        with pytest.raises(UnusableBackend, match=r"pip install 'gradoracle\[torch\]'"):
            load("torch", confinement)


def test_a_name_that_two_packages_take_is_nobodys(monkeypatch):
    entries = [
        SimpleNamespace(name=name, value=value, dist=SimpleNamespace(name=dist, version="1"))
        for name, value, dist in [
            ("im2col", "evil.kernels", "evil"),
            ("fine", "gradoracle.implementations.im2col", "fine"),
            ("two", "a.b", "one"), ("two", "c.d", "other"),
        ]
    ]  # fmt: skip
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    with pytest.raises(UnusableBackend, match="both gradoracle .* and evil 1 .* register it"):
        load("im2col")
    with pytest.raises(UnusableBackend, match=r"both one 1 \(a.b\) and other 1 \(c.d\)"):
        load("two")
    assert load("fine").origin == "fine 1"
    assert load("oracle").functions


def test_an_entry_point_of_no_distribution_is_not_ours(monkeypatch):
    ghost = SimpleNamespace(name="ghost", value="gradoracle.implementations.im2col", dist=None)
    monkeypatch.setattr(registry, "entry_points", lambda group: [ghost])
    assert load("ghost").origin == "unknown"
    assert load("im2col").origin == "gradoracle"


class Proxy:
    def __getattr__(self, name):
        raise KeyError(name)


def test_an_object_whose_attributes_raise_is_unusable_in_one_line():
    with pytest.raises(UnusableBackend, match="Proxy.*its contract cannot be read: KeyError"):
        wrap(Proxy())


def test_a_path_without_an_attribute_is_no_path():
    with pytest.raises(UnknownBackend, match="no backend 'gradoracle.implementations.im2col:'"):
        load("gradoracle.implementations.im2col:")


def test_objects_and_modules_are_wrapped():
    from gradoracle.implementations import im2col

    assert wrap(im2col).name == "gradoracle.implementations.im2col"
    thing = wrap(SimpleNamespace(conv2d=print))
    assert thing.name == "SimpleNamespace"
    assert thing.functions == ("conv2d",)


def test_contract_limits_what_is_claimed():
    source = SimpleNamespace(
        conv2d=print, conv2d_grad_bias=print,
        contract={"functions": ["conv2d", "conv2d_grad_input"], "dtypes": ["float32"]},
    )  # fmt: skip
    backend = wrap(source)
    assert backend.functions == ("conv2d",)
    assert backend.missing == ("conv2d_grad_input",)
    assert backend.contract.dtypes == ("float32",)


# -- files ----------------------------------------------------------------------------------------

HELPER = "import numpy as np\ndef positive(z): return np.maximum(z, 0)\n"
KERNELS = """
from types import SimpleNamespace
import helper
def relu(z): return helper.positive(z)
wrong = SimpleNamespace(relu=lambda z: helper.positive(z) + (z.size == 2))
"""


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """The folder of a file of Python whose name is no identifier, seen from the one above it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "helper.py").write_text(HELPER)
    (tmp_path / "sub" / "my-kernels.py").write_text(KERNELS)
    return tmp_path / "sub"


@pytest.mark.slow
def test_a_file_of_python_is_a_backend_and_imports_what_lies_beside_it(kernels):
    for name in ("./sub/my-kernels.py", str(kernels / "my-kernels.py")):
        certificate = gradoracle.check(name, operators=["relu"], examples=10, seed=1)
        assert certificate.passed, certificate.text()
        assert {"helper", "my-kernels"} <= certificate.confinement["modules"].keys()
        assert sorted(certificate.files) == ["helper.py", "my-kernels.py"]
        assert certificate.confinement["limits"]["call"] == 10


@pytest.mark.slow
def test_the_script_of_a_file_of_python_runs_where_the_file_is(kernels):
    name = "sub/my-kernels.py:wrong"
    certificate = gradoracle.check(name, operators=["relu"], examples=25, seed=1)
    script = certificate.mismatches[0].script
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("AssertionError")
    mended = KERNELS.replace(" + (z.size == 2)", "")
    (kernels / "my-kernels.py").write_text(mended)
    assert not subprocess.run([sys.executable, "-c", script], check=False).returncode


def test_a_file_named_as_a_module_that_is_loaded_replaces_nothing(kernels):
    (kernels / "signal.py").write_text("def relu(z): return z * (z > 0)")
    assert load("sub/signal.py").functions == ("relu",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "def conv_2d(x): ...\nclass Relu: ...\ndef main(): ...",
            r"it has conv_2d \(did you mean conv2d\?\), Relu \(did you mean relu\?\);",
        ),
        ("def main(): ...", "relu: it has main;"),
        ("", "it has no function;"),
        ("def relu(z:", "cannot be loaded: SyntaxError"),
        ("import nothing_of_this_name", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_file_of_python_that_is_no_backend_says_what_it_has(kernels, text, said):
    (kernels / "other.py").write_text(text)
    with pytest.raises(UnusableBackend, match=said) as error:
        load("sub/other.py")
    assert "\n" not in str(error.value)
    with pytest.raises(UnknownBackend, match="there is no file 'sub/absent.py'"):
        load("sub/absent.py")
    with pytest.raises(UnusableBackend, match="AttributeError: .*'absent'"):
        load("sub/my-kernels.py:absent")


INNER = """
from types import SimpleNamespace
import numpy as np
def positive(z): return np.maximum(z, 0)
backend = SimpleNamespace(relu=positive, tanh=np.tanh)
"""


@pytest.mark.parametrize("confinement", [ISOLATED, IN_PROCESS])
def test_an_object_backend_in_a_module_may_be_meant(kernels, monkeypatch, confinement):
    (kernels / "inner_kernels.py").write_text(INNER)
    monkeypatch.syspath_prepend(str(kernels))
    for name in ("./sub/inner_kernels.py", "inner_kernels"):
        said = f"has none of .* in it has relu, tanh: did you mean {name}:backend\\?$"
        with pytest.raises(UnusableBackend, match=said):
            load(name, confinement)
        assert load(f"{name}:backend", confinement).functions == ("relu", "tanh")
    (kernels / "inner_and_own.py").write_text(INNER + "def relu(z): return positive(z)\n")
    backend = load("./sub/inner_and_own.py", confinement)
    assert backend.functions == ("relu",)
    assert backend.notes == [
        "./sub/inner_and_own.py: only its own relu is checked; the object `backend` in it has "
        "tanh: did you mean ./sub/inner_and_own.py:backend?"
    ]


@pytest.mark.parametrize("confinement", [ISOLATED, IN_PROCESS])
def test_a_name_near_a_missing_function_may_be_meant(kernels, confinement):
    (kernels / "near.py").write_text(
        "from json import dumps as gelu_gradd\n"
        "def embedding(input, weight): return weight[input]\n"
        "def embedding_grad_weight(grad_output, input, *, weight_shape): ...\n"
        "def embeddings(input): ...\n"
        "def _embedding_grad(input): ...\n"
    )
    backend = load("./sub/near.py", confinement)
    assert backend.misspelt == {"embedding_grad": "embedding_grad_weight"}
    said = "no embedding_grad in ./sub/near.py; did you mean: your embedding_grad_weight?"
    assert backend.notes == [said]
    certificate = gradoracle.check(backend, operators=["embedding"], examples=2, seed=1)
    reasons = {o.reason for o in certificate.outcomes if o.formula == "embedding_grad"}
    asked = "did you mean: your embedding_grad_weight?"
    assert any(reason.endswith(asked) for reason in reasons)
    (kernels / "claimed.py").write_text(
        (kernels / "near.py").read_text()
        + "contract = {'functions': ['embedding', 'embedding_grad']}\n"
    )
    backend = load("./sub/claimed.py", confinement)
    certificate = gradoracle.check(backend, operators=["embedding"], examples=2, seed=1)
    reasons = {o.reason for o in certificate.outcomes}
    assert (
        f"embedding_grad is claimed by the contract, but there is no such function; {asked}"
        in reasons
    )


def test_of_the_shipped_backends_nothing_is_to_be_told():
    for name in ("im2col", "torch", "oracle"):
        assert load(name, IN_PROCESS).notes == []


def test_the_script_of_an_object_that_cannot_be_imported_asks_for_it():
    made = ModuleType("made_by_hand")
    exec("def relu(z): return z", made.__dict__)  # noqa: S102
    for backend in (made, SimpleNamespace(relu=lambda z: z)):
        certificate = gradoracle.check(backend, operators=["relu"], examples=10, seed=1)
        script = certificate.mismatches[0].script
        assert "import made_by_hand" not in script
        kind = certificate.backend
        line = f"backend = ...  # put it here: the object that is checked as {kind!r}\n"
        assert line in script
        with pytest.raises(AssertionError):
            exec(script.replace("backend = ...", ""), {"backend": backend})  # noqa: S102
    from gradoracle.implementations import im2col

    assert wrap(im2col, "by another name").path == "gradoracle.implementations.im2col"


def test_a_file_loads_nothing_of_the_suite(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import numpy as np\n\ndef relu(z):\n    return np.maximum(z, 0)\n")
    backend = load(str(file))
    assert [*backend.asked.kept()["modules"]] == ["mine"]
    backend.asked.close()
