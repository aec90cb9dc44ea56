"""OpenCV's cv2.dnn keeps a window of padding alone with ceil_mode, and counts taps beyond padding.

ONNX: sliding windows that would start in the right padded region are ignored.
"""

import cv2
import numpy as np
from onnx import TensorProto, helper


def run(operator, x, places, **options):
    made = helper.make_tensor_value_info
    x = np.array(x, "float32").reshape(1, 1, 1, -1)
    ends = (
        [made("x", TensorProto.FLOAT, x.shape)],
        [made("y", TensorProto.FLOAT, (1, 1, 1, places))],
    )
    options |= {"kernel_shape": [1, 2], "strides": [1, 2], "ceil_mode": 1}
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], **options)], "g", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(x, "x")
    return net.forward().ravel()


pads = {"pads": [0, 1, 0, 1]}  # the windows are [-, 4], [2, 6] and [-, -]
print(f"AveragePool  got {run('AveragePool', [4, 2, 6], 2, **pads)}  right [4. 4.]")
print(f"MaxPool  got {run('MaxPool', [4, 2, 6], 2, **pads)}  right [4. 6.]")
for count in (0, 1):  # the windows are [4, 2] and [6]; there is no padding to count
    got = run("AveragePool", [4, 2, 6], 2, count_include_pad=count)
    print(f"count_include_pad {count}  got {got}  right [3. 6.]")
