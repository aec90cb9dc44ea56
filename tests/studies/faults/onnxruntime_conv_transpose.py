"""ONNX Runtime refuses an output_padding below the dilation, which ONNX allows.

ONNX: each value in output_padding must be less than the corresponding stride or dilation.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * 3) for n in ("x", "w", "y")]
node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], dilations=[2], output_padding=[1])
graph = helper.make_graph([node], "transposed", values[:2], values[2:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
onnx.checker.check_model(model)
given = {"x": np.full((1, 1, 1), 3, "float32"), "w": np.array([[[5, 7]]], "float32")}
try:
    got = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)[0].tolist()
except Exception as error:
    got = str(error).partition("Message: ")[2]
print(f"got {got}")
print("right [[[15.0, 0.0, 21.0, 0.0]]]: y[0] = 3*5, y[2] = 3*7, and one place more")
