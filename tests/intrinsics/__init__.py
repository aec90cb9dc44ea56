"""CUDA's device functions as tables: an expression, its arguments, and what is right."""
