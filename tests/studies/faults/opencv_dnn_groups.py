"""OpenCV's cv2.dnn spreads NaN over the groups of a transposed convolution."""

import cv2
import numpy as np
from onnx import TensorProto, helper

made, shape = helper.make_tensor_value_info, (1, 2, 1, 1)
shapes = {"x": shape, "w": (2, 1, 1, 1), "y": shape}
x, w, y = (made(name, TensorProto.FLOAT, of) for name, of in shapes.items())
node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2)
graph = helper.make_graph([node], "g", [x, w], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
for first in (2.0, np.nan):
    net.setInput(np.array([first, 3], "float32").reshape(shape), "x")
    net.setInput(np.array([5, 7], "float32").reshape(2, 1, 1, 1), "w")
    print(f"x [{first}, 3]  got {net.forward().ravel()}  right [{5 * first}, 21.0]: 5*x[0], 7*x[1]")
