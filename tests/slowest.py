"""Where the time of a test run goes, by file and by test function, from pytest's `--junitxml`.

    pytest tests -n 3 --dist worksteal --junitxml=run.xml
    python -m tests.slowest run.xml [20]

Seconds are of the clock: on a busy machine, compare shares.
"""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET


def totals(file):
    """Return the seconds and the number of tests of each file, and of each test function.

    Raises:
        ValueError: the file cannot be read, or has no tests.
    """
    try:
        cases = [*ET.parse(file).iter("testcase")]  # noqa: S314 - our own
    except (OSError, ET.ParseError) as error:
        raise ValueError(f"{file} must be a file that pytest --junitxml wrote: {error}") from error
    named = [case for case in cases if case.get("classname")]  # an interrupted run has others
    if not named:
        raise ValueError(f"{file} has no tests: was it written by pytest --junitxml?")
    files, functions = {}, {}
    for case in named:
        of = case.get("classname").rpartition(".")[2]
        function = f"{of}::{case.get('name').partition('[')[0]}"
        for name, found in ((of, files), (function, functions)):
            seconds, count = found.get(name, (0.0, 0))
            found[name] = (seconds + float(case.get("time")), count + 1)
    return files, functions


def table(found, most):
    """Return lines of those that took longest: seconds, share of all, tests, name."""
    whole = sum(seconds for seconds, _ in found.values()) or 1.0
    slowest = Counter({name: seconds for name, (seconds, _) in found.items()}).most_common(most)
    return [
        f"{seconds:9.1f} s {seconds / whole:6.1%} {found[name][1]:6}  {name}"
        for name, seconds in slowest
    ]


def main(arguments):
    """Print both tables; return 2 where the arguments are wrong."""
    count = arguments[1] if len(arguments) > 1 else "20"
    if not 1 <= len(arguments) <= 2 or not count.isdigit() or int(count) < 1:
        sys.stderr.write("usage: python -m tests.slowest FILE [COUNT of at least 1]\n")
        return 2
    try:
        found = totals(Path(arguments[0]))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for one in found:
        sys.stdout.write("\n".join([*table(one, int(count)), "", ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
