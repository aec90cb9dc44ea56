"""Loading and calling the code under test."""
