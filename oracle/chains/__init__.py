"""Chains of operators: a network, and the error that passes through it."""
