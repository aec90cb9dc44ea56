"""How fast a backend is: `pytest conformance/benchmarks --backend NAME`, beside PyTorch.

Every function of the protocol on layers of real networks, in turns with `torch_reference`, on one
thread; the answers are checked after the timing.  pytest-benchmark keeps the times; `gradoracle
bench` keeps and compares them over time.
"""
