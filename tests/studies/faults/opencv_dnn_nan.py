"""OpenCV's cv2.dnn makes 3.4e38 of NaN in a convolution, and drops it in a max pooling."""

import cv2
import numpy as np
from onnx import TensorProto, helper


def run(operator, arrays, shape, **attributes):
    made = helper.make_tensor_value_info
    inputs = [made(f"i{at}", TensorProto.FLOAT, a.shape) for at, a in enumerate(arrays)]
    node = helper.make_node(operator, [one.name for one in inputs], ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [made("y", TensorProto.FLOAT, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    for at, array in enumerate(arrays):
        net.setInput(array, f"i{at}")
    return net.forward().ravel()


x = np.array([[[[1.0, np.nan], [2.0, 3.0]]]], "float32")
weight = np.full((1, 1, 1, 1), 2.0, "float32")
print(f"Conv  got {run('Conv', [x, weight], (1, 1, 2, 2))}  right {2 * x.ravel()}")
got = run("MaxPool", [x], (1, 1, 1, 1), kernel_shape=[2, 2])
print(f"MaxPool  got {got}  right [nan]")
