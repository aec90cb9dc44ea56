"""OpenCV's cv2.dnn has NaN for the tanh of large numbers, if there are eight of them."""

import cv2
import numpy as np
from onnx import TensorProto, helper

made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in "zy"]
graph = helper.make_graph([helper.make_node("Tanh", ["z"], ["y"])], "g", made[:1], made[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
for z in (10.0, 50.0, 1024.0):
    net.setInput(np.full(8, z, "float32"), "z")
    print(f"z {z}  got {net.forward().ravel()[0]}  right {np.tanh(z)}")
