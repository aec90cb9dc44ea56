"""Backends that ship with the suite.  None of them imports it, and it imports none of them."""
