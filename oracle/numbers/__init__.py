"""What formulas are evaluated in: dual numbers, running errors, high precision."""
