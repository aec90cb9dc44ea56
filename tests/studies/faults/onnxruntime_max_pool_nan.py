"""ONNX Runtime's MaxPool drops a NaN, but keeps one that is first if indices are asked for."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def session(*outputs):
    x = helper.make_tensor_value_info("x", FLOAT, [1, 1, None])
    kinds = {"y": FLOAT, "indices": INT}
    found = [helper.make_tensor_value_info(name, kinds[name], [1, 1, None]) for name in outputs]
    node = helper.make_node("MaxPool", ["x"], outputs, kernel_shape=[3])
    graph = helper.make_graph([node], "pool", [x], found)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString())


values, both = session("y"), session("y", "indices")
for window in ([np.nan, 1, 2], [1, np.nan, 2], [1, 2, np.nan]):
    x = {"x": np.array([[window]], "float32")}
    got = values.run(None, x)[0].item(), both.run(None, x)[0].item()
    print(f"window {window}  got {got[0]}, with indices {got[1]}  right nan or 2.0, for all alike")
