"""Examples that run with any backend: python -m gradoracle.conformance.examples.lenet --help."""
