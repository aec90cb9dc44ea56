"""The operators' formulas, as the documents write them."""
