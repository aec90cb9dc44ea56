"""Examples that run with any backend: python -m conformance.examples.lenet --help."""
