"""The conformance suite: whether a backend is right, forward and every gradient, for all shapes.

From the command line: `pytest conformance --backend NAME`.
"""

DOMAIN = "GRADORACLE_DOMAIN"  # the variable that restricts every backend of a run to a domain
POLICIES = "GRADORACLE_POLICIES"  # the variable with policies of every backend of a run
DEVIATIONS = "GRADORACLE_DEVIATIONS"  # the variable that names a file of known deviations
OPERATORS_FROM = "GRADORACLE_OPERATORS_FROM"  # the variable that names modules with more operators
