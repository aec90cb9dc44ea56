"""`python -m gradoracle` is the command `gradoracle`."""

from gradoracle.conformance.cli import app

if __name__ == "__main__":
    app(prog_name="gradoracle")
