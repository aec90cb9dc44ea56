"""onnx's reference evaluator drops NaN in poolings, refuses padding, and misplaces maxima."""

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def run(operator, x, outputs=1, **options):
    """Return what a node gives, or the exception that it raises."""
    names = ["y", "places"][:outputs]
    node = helper.make_node(operator, ["x"], names, **options)
    shape = [None] * x.ndim
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    kinds = [TensorProto.FLOAT, TensorProto.INT64]
    found = [helper.make_tensor_value_info(n, k, shape) for n, k in zip(names, kinds, strict=False)]
    graph = helper.make_graph([node], "pool", given, found)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    try:
        return [a.ravel().tolist() for a in ReferenceEvaluator(model).run(None, {"x": x})]
    except (ValueError, RuntimeError, IndexError) as error:
        return f"{type(error).__name__}: {str(error)[:60]}"


nan = np.array([[[np.nan, 0]]], np.float32)
got = run("AveragePool", nan, kernel_shape=[2])
print(f"the mean of NaN and 0  got {got}  right [[nan]]")
got = run("MaxPool", nan[..., :1], kernel_shape=[1])
print(f"the maximum of NaN  got {got}  right [[nan]]")
zero = np.zeros((1, 1, 1), np.float32)
got = run("AveragePool", zero, kernel_shape=[3], strides=[3], ceil_mode=1)
print(f"a window of one 0, with ceil_mode  got {got}  right [[0.0]]")
got = run("MaxPool", zero, kernel_shape=[2], pads=[1, 1])
print(f"two windows of one 0, with padding  got {got}  right [[0.0, 0.0]]")
got = run("MaxPool", np.zeros((2, 1, 1), np.float32), 2, kernel_shape=[1])
print(f"two images: values and places  got {got}  right [[0.0, 0.0], [0, 1]]")
