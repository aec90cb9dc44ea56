"""What runs ONNX models as a backend: each function is a model of one node, forward only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.conformance.backends.adapters.base import (
    Function,
    arguments_of,
    backend,
    forward,
    require_known,
)
from gradoracle.conformance.backends.adapters.parameters import taken

Arrays: TypeAlias = list[np.ndarray]
Session: TypeAlias = Callable[[bytes], Callable[[Arrays], Sequence[Any]]]
OPSET, IR = 22, 10  # the first with today's rules of pooling, and the model format of its time
RANKS = ("1d", "2d", "3d")
ATTRIBUTES = {
    "stride": "strides", "padding": "pads", "dilation": "dilations", "groups": "group",
    "output_padding": "output_padding", "kernel_size": "kernel_shape", "ceil_mode": "ceil_mode",
    "count_include_pad": "count_include_pad", "negative_slope": "alpha", "axis": "axis",
    "reduction": "reduction",
}  # fmt: skip


class Node(NamedTuple):
    """An operator of ONNX, its outputs, and what is the same in every call."""

    operator: str
    outputs: tuple[str, ...] = ("y",)
    fixed: Mapping[str, int] = {}
    constant: tuple[int, ...] | None = None  # a last input


NODES = {
    **{f"conv{rank}": Node("Conv") for rank in RANKS},
    **{f"conv_transpose{rank}": Node("ConvTranspose") for rank in RANKS},
    **{f"max_pool{rank}": Node("MaxPool", ("y", "indices")) for rank in RANKS},
    **{f"avg_pool{rank}": Node("AveragePool") for rank in RANKS},
    "relu": Node("Relu"),
    "leaky_relu": Node("LeakyRelu"),
    "sigmoid": Node("Sigmoid"),
    "tanh": Node("Tanh"),
    "softmax": Node("Softmax"),
    "linear": Node("Gemm", fixed={"transB": 1}),
    "cross_entropy": Node("SoftmaxCrossEntropyLoss"),
    "batch_mean": Node("ReduceMean", fixed={"keepdims": 0}, constant=(0,)),
}
# What ONNX Runtime's CPU has kernels of float64 for.
DOUBLE = ("max_pool", "relu", "sigmoid", "tanh", "softmax", "linear", "cross_entropy", "batch_mean")


def adapt(
    session: Session, *, functions: Sequence[str] = (*NODES,), static: bool = False,
    dtypes: Sequence[str] = ("float32",), contract: Mapping[str, Any] | None = None,
) -> SimpleNamespace:  # fmt: skip
    """Return the backend of what runs ONNX models, forward only.

    `session` takes a model of one node as bytes, and returns what takes the list of its inputs and
    returns those of its outputs.  It is called once for the options, dtypes and ranks of a call;
    with `static`, for every shape.

    Raises:
        ImportError: there is no onnx.
        ValueError: a function that is no node of ONNX.
    """
    onnx = _imported("onnx")
    require_known(dict.fromkeys(functions, session), "onnx")
    absent = [name for name in functions if name not in NODES]
    if absent:
        raise ValueError(f"{absent[0]} is no node of ONNX; those are {', '.join(NODES)}")
    made = {name: _function(name, onnx, session, static=static) for name in functions}
    policies = {"index_origin": "global", "nan": "any"}
    return backend("onnx", made, dtypes=dtypes, contract=contract, policies=policies)


def onnxruntime(_: str = "") -> SimpleNamespace:
    """Return the backend of ONNX Runtime on a CPU.

    Raises:
        ImportError: there is no onnx or no ONNX Runtime.
    """
    runtime = _imported("onnxruntime")
    singles = [name for name in NODES if not name.startswith(DOUBLE)]
    claims = {
        "not_claimed": {"float64": singles},
        "runs_on": f"ONNX Runtime {runtime.__version__}, CPU, opset {OPSET}",
    }
    return adapt(in_onnx_runtime, dtypes=("float32", "float64"), contract=claims)


def in_onnx_runtime(model: bytes) -> Callable[[Arrays], Sequence[Any]]:
    """Return what runs a model in ONNX Runtime on a CPU, on one thread.

    Raises:
        ImportError: there is no ONNX Runtime.
        NotImplementedError: it has no such kernel.
    """
    runtime = _imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, too
    try:
        made = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except runtime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise NotImplementedError(str(error)) from error
    names = [one.name for one in made.get_inputs()]
    return lambda arrays: made.run(None, dict(zip(names, arrays, strict=True)))


def _function(name: str, onnx: Any, session: Session, *, static: bool) -> Function:
    """Return a function of the protocol that runs a model of one node."""
    node = NODES[name]
    positional, optional, options = arguments_of(name)

    def of_nodes(*arrays: Any, **options: Any) -> Any:
        """Take all that the protocol has."""

    it = taken(of_nodes, positional, optional, options, label=f"ONNX's {node.operator}")

    @cache
    def runner(inputs: tuple[Any, ...], attributes: tuple[tuple[str, Any], ...]) -> Any:
        return session(_model(onnx, node, inputs, dict(attributes)))

    def call(values: Mapping[str, Any]) -> Any:
        given = [values[n] for n in positional if values.get(n) is not None]
        inputs = tuple((a.dtype, a.shape if static else (None,) * a.ndim) for a in given)
        attributes = {ATTRIBUTES[n]: _attribute(n, values[n]) for n in options if n in values}
        ordered = [np.array(a, order="C") for a in given]
        results = runner(inputs, tuple(attributes.items()))(ordered)
        return tuple(results) if len(node.outputs) > 1 else results[0]

    return forward(name, it, call)


def _attribute(option: str, value: Any) -> Any:
    """Return an option as a node has it: padding before and after every axis, no booleans."""
    if option == "padding":
        return (*value, *value)
    return int(value) if isinstance(value, bool) else value


def _model(
    onnx: Any, node: Node, inputs: Sequence[tuple[Any, Any]], attributes: Mapping[str, Any]
) -> bytes:
    """Return a model of one node, with inputs of these dtypes and shapes (None: of any length)."""
    make, of_dtype = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    names = [f"input{at}" for at in range(len(inputs))]
    values = [
        make.make_tensor_value_info(name, of_dtype(dtype), shape)
        for name, (dtype, shape) in zip(names, inputs, strict=True)
    ]
    constants = [] if node.constant is None else [
        make.make_tensor("constant", onnx.TensorProto.INT64, [len(node.constant)], node.constant)
    ]  # fmt: skip
    kinds = {"indices": onnx.TensorProto.INT64}
    outputs = [
        make.make_tensor_value_info(name, kinds.get(name, of_dtype(inputs[0][0])), None)
        for name in node.outputs
    ]
    used = [*names, *(one.name for one in constants)]
    made = make.make_node(node.operator, used, node.outputs, **attributes, **node.fixed)
    graph = make.make_graph([made], "one node", values, outputs, constants)
    opset = make.make_opsetid("", OPSET)
    model: bytes = make.make_model(graph, opset_imports=[opset], ir_version=IR).SerializeToString()
    return model


def _imported(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module} is not installed: pip install 'gradoracle[onnxruntime]'"
        ) from error
