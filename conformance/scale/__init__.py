"""Layers of real networks, checked in less time than it takes to compute them.

Whole numbers are checked by random projections (`projection`), floats by some of their elements
(`elements`); `data` makes both, and `convolution` reads every formula as one of a convolution's.
"""
