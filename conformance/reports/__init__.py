"""How results are shown and stored."""
