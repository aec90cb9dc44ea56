"""Other ways in which the documents write the same formulas."""
