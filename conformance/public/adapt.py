"""Bring the functions you have: `gradoracle.check(gradoracle.adapt.torch(conv2d=my_conv))`.

`torch` takes functions on tensors, `jax` functions on JAX arrays, both with gradients by automatic
differentiation; `autodiff` takes functions of another library that differentiates them, `onnx` what
runs ONNX models, and `numpy` NumPy functions in the layouts of courses.
"""

from gradoracle.conformance.backends.adapters.base import autodiff
from gradoracle.conformance.backends.adapters.jax_functions import adapt as jax
from gradoracle.conformance.backends.adapters.numpy_functions import adapt as numpy
from gradoracle.conformance.backends.adapters.onnx_models import adapt as onnx
from gradoracle.conformance.backends.adapters.torch_functions import adapt as torch

__all__ = ["autodiff", "jax", "numpy", "onnx", "torch"]
