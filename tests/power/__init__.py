"""How much the usual checks see, measured: every planted fault, checked by each of them.

    python -m tests.power

`layers` says how an operator is asked and what PyTorch answers, a module each is a rival, `rivals`
lists them, `measure` runs them and `table` reads the results.
"""
