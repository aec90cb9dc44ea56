"""Proofs for a shape: what a CUDA kernel computes of all numbers, decided on random ones."""
