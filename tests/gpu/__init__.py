"""Evidence from a real GPU: `python -m tests.gpu.evidence`, and `python -m tests.gpu.table`."""
