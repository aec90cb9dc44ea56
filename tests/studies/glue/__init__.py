"""One module per library: what it takes to check that library's functions."""
