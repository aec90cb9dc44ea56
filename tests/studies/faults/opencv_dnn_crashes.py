"""OpenCV's cv2.dnn ends the process: it divides by zero or reads what is not there.

Of a matrix without rows, a kernel beyond the image, and padding that takes all pixels away.
"""

import subprocess
import sys

PROGRAM = """
import cv2
import numpy as np
from onnx import TensorProto, helper

def run(operator, shapes, shape, **attributes):
    made = helper.make_tensor_value_info
    ends = [made(f"i{at}", TensorProto.FLOAT, of) for at, of in enumerate(shapes)]
    node = helper.make_node(operator, [one.name for one in ends], ["y"], **attributes)
    graph = helper.make_graph([node], "g", ends, [made("y", TensorProto.FLOAT, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    for at, of in enumerate(shapes):
        net.setInput(np.ones(of, "float32"), f"i{at}")
    return net.forward().shape

print(%s)
"""
ALL = "run('ConvTranspose', [(1, 1, 1), (1, 1, 1)], (1, 1, 0), pads=[1, 1])"
for name, call, right in (
    ("Gemm, no rows", "run('Gemm', [(0, 1), (1, 1)], (0, 1), transB=1)", "shape (0, 1)"),
    (
        "Conv, a kernel of 2 on 1 pixel",
        "run('Conv', [(1, 2, 1), (1, 2, 2)], (1, 1, 0))",
        "an error",
    ),
    ("ConvTranspose, padding takes all", ALL, "an error"),
):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM % call], capture_output=True, text=True, check=False
    )
    print(f"{name}  got exit status {done.returncode} {done.stdout.strip()}  right {right}")
