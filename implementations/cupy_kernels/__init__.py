"""The protocol on a GPU, in CUDA C++ kernels that CuPy compiles."""
