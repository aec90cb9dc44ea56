"""OpenVINO's softmax has NaN only where the NaN is: the sum of all loses it."""

import numpy as np
import openvino
from openvino import opset13 as ops

z = ops.parameter([2], np.float32)
model = openvino.Model([ops.softmax(z, 0)], [z])
hint = {"INFERENCE_PRECISION_HINT": "f32"}
run = openvino.Core().compile_model(model, "CPU", hint)
for values in ([np.nan, 0.0], [0.0, np.nan]):
    got = run([np.array(values, "float32")])[0]
    print(f"softmax of {values}  got {got}  right [nan nan]: each is divided by the sum of all")
