"""The `gradoracle` command, one module per subcommand.

Each imports what it runs only when it is called, so that `--help` stays quick.
"""

from gradoracle.conformance.cli import (  # noqa: F401, I001 - in the order in which help lists them
    backends, certify, merge, campaign, prove, verify, diff, replay, html, deviate, remember,
    badge, attest, bench, schema, explain, new,
)  # fmt: skip
from gradoracle.conformance.cli.app import app as app
