"""Backends made of the functions that people have: PyTorch's, JAX's, and NumPy's of courses."""
