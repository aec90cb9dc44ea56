"""One property of one formula, from drawn calls to a counterexample."""
