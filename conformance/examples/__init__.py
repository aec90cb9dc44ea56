"""Examples: a network that any backend can train, and backends of kernels in Triton and Numba."""
