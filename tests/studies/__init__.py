"""Packages of other people, checked through the adapters: `python -m tests.studies LIBRARY...`."""
