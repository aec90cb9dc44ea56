"""Formulas made of other formulas: a fused kernel's, from one expression."""
