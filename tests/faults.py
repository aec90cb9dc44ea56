"""The kernels of tests/cuda/faults.cu: how each is launched, and what is told of it."""

import re
from pathlib import Path
from typing import NamedTuple

CUDA = Path(__file__).parent / "cuda"
FILE = "faults.cu"
TEXT = (CUDA / FILE).read_text(encoding="utf-8")
CODE = f'#line 1 "{FILE}"\n{TEXT}'  # as compilers get it: messages name the file
NUMBERS = 64  # of x, all of them 1

_FAULT = re.compile(
    r"// launch: <<<(?P<blocks>\d+), (?P<threads>\d+)>>> (?P<n>\d+)\n"
    r"// told: (?P<kind>[\w ]+): (?P<words>.*)\n"
    r'extern "C" __global__ void (?:__launch_bounds__\(\d+\) )?(?P<name>\w+)\('
)


class Fault(NamedTuple):
    """One kernel that does what no kernel may."""

    name: str
    blocks: int
    threads: int
    n: int
    kind: str  # of the finding that hostcuda tells
    words: str  # of its text
    line: int  # of the file, where `here` is; 0: nowhere
    body: str

    @property
    def shared(self):
        """Whether it is about shared memory."""
        return "__shared__" in self.body


def _fault(found):
    body = TEXT[found.start() : TEXT.find("\n}", found.start())]
    here = body.find("// here")
    line = TEXT.count("\n", 0, found.start() + here) + 1 if here >= 0 else 0
    numbers = (int(found[name]) for name in ("blocks", "threads", "n"))
    return Fault(found["name"], *numbers, found["kind"], found["words"], line, body)


FAULTS = {found["name"]: _fault(found) for found in _FAULT.finditer(TEXT)}
