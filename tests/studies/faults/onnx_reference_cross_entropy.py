"""onnx's reference evaluator takes the log of the softmax: a loss above 87 loses digits."""

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

node = helper.make_node("SoftmaxCrossEntropyLoss", ["scores", "labels"], ["y"], reduction="sum")
given = [
    helper.make_tensor_value_info("scores", TensorProto.FLOAT, None),
    helper.make_tensor_value_info("labels", TensorProto.INT64, None),
]
found = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
graph = helper.make_graph([node], "loss", given, found)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
for score in (-92, -100, -110):
    arrays = {"scores": np.array([[0, score]], np.float32), "labels": np.array([1])}
    got = ReferenceEvaluator(model).run(None, arrays)[0].item()
    print(f"the loss of 0 and {score}  got {got}  right {-score}.0")
