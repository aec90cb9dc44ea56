"""OpenCV's cv2.dnn puts the padding of a 1x1 convolution of several channels all on one side."""

import cv2
import numpy as np
from onnx import TensorProto, helper

made = helper.make_tensor_value_info
for channels in (1, 2):
    x, w = (np.arange(3, 3 + channels, dtype="float32").reshape(1, -1, 1, 1) for _ in "xw")
    ends = [made(name, TensorProto.FLOAT, x.shape) for name in "xw"]
    y = made("y", TensorProto.FLOAT, (1, 1, 1, 3))
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[0, 1, 0, 1])
    graph = helper.make_graph([node], "g", ends, [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(x, "x")
    net.setInput(w, "w")
    print(f"{channels} channels  got {net.forward().ravel()}  right [0, {(x * w).sum()}, 0]")
