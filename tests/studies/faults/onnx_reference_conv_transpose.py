"""onnx's reference evaluator mixes or refuses the groups of a transposed convolution."""

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "w", "b")]
found = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]


def run(**options):
    """Return what it makes of zeros in two channels with the biases 0 and 1."""
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **options)
    graph = helper.make_graph([node], "layer", given, found)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    arrays = {
        "x": np.zeros((1, 2, 1), np.float32), "w": np.zeros((2, 1, 1), np.float32),
        "b": np.array([0, 1], np.float32),
    }  # fmt: skip
    try:
        return ReferenceEvaluator(model).run(None, arrays)[0].ravel().tolist()
    except ValueError as error:
        return f"ValueError: {str(error)[:60]}"


print(f"two groups  got {run(group=2)}  right [0.0, 1.0]")
