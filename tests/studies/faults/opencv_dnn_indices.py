"""OpenCV's cv2.dnn counts the indices of a max pooling in one plane; ONNX, in the whole array.

ONNX: the values in indices are in [0, N x C x D1 x ... x Dn).
"""

import cv2
import numpy as np
from onnx import TensorProto, helper

made, kinds = helper.make_tensor_value_info, {"y": TensorProto.FLOAT, "i": TensorProto.INT64}
x = np.array([0, 1, 0, 1], "float32").reshape(2, 1, 1, 2)  # the maxima are x.flat[1] and x.flat[3]
found = [made(name, kind, (2, 1, 1, 1)) for name, kind in kinds.items()]
node = helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[1, 2])
graph = helper.make_graph([node], "g", [made("x", TensorProto.FLOAT, x.shape)], found)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
net.setInput(x, "x")
_, indices = net.forward(["y", "i"])
print(f"got {np.ravel(indices)}  right [1 3]")
