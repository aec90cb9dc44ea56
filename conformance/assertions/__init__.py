"""The rounding bound in anybody's own test: one answer is checked, without a backend or a run."""
