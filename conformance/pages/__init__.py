"""Certificates, comparisons and formulas as pages of HTML: one file each, and no network."""
