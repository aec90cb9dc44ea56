"""How hard the suite looks: examples a check, by profile; a check takes its share of them."""

PROFILES = {"quick": 25, "certify": 300, "deep": 5000}
FIRST_LOOK = 20  # examples of a first round over all checks, where any mismatch will do
