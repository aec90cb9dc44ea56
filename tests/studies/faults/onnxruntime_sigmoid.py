"""ONNX Runtime's sigmoid of float32 is 0 below -18, where it is a normal number."""

from decimal import Decimal

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "zy"]
node = helper.make_node("Sigmoid", ["z"], ["y"])
graph = helper.make_graph([node], "sigmoid", values[:1], values[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString())
for z in (-4.0, -17.0, -18.5, -20.0):
    got = session.run(None, {"z": np.array([z], "float32")})[0][0]
    right = 1 / (1 + Decimal(-z).exp())
    print(
        f"z {z}  got {got:.9g}  right {right:.9g}  off {abs(Decimal(float(got)) / right - 1):.2g}"
    )
