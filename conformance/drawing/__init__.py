"""How calls are drawn: choices, values, memory layouts, combinations of options, invalid calls."""
