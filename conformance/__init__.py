"""The conformance suite: whether a backend is right, forward and every gradient, for all shapes.

From the command line: `pytest conformance --backend NAME`.
"""
