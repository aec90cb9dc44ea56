"""The reference evaluator of the onnx package."""

import onnx
from onnx.reference import ReferenceEvaluator

from gradoracle import adapt


def session(model):
    evaluator = ReferenceEvaluator(onnx.load_from_string(model))
    return lambda arrays: evaluator.run(None, dict(zip(evaluator.input_names, arrays, strict=True)))


backend = adapt.onnx(session, dtypes=["float32", "float64"])
