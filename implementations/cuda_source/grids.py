"""How many blocks and threads run a kernel that no host code launches, by its guards."""

import re
from collections.abc import Mapping

THREADS = {1: "256", 2: "16", 3: "8"}  # along each axis, by how many of them there are
_PLACE = re.compile(
    r"\b(?P<name>\w+)\s*=\s*(?:\((?:int|unsigned|size_t)\)\s*)?(?:"
    r"blockIdx\.(?P<axis>[xyz])\s*\*\s*(?P<width>blockDim\.[xyz]|\w+)\s*\+\s*threadIdx\.(?P=axis)"
    r"|threadIdx\.(?P<axis2>[xyz])\s*\+\s*(?:blockIdx\.(?P=axis2)\s*\*\s*(?P<width2>blockDim\.[xyz]"
    r"|\w+)|(?P<width3>blockDim\.[xyz]|\w+)\s*\*\s*blockIdx\.(?P=axis2)))\s*[;,]"
)


def grid_of(body: str, given: Mapping[str, str], known: Mapping[str, object]) -> list[str]:
    """Return blocks and threads of a kernel in which each thread asks whether it has an element.

    That is `i = blockIdx.x * blockDim.x + threadIdx.x` and `i < N`, with a parameter N, along one
    axis or more; a width other than blockDim must be a constant that is `known`.  Empty: it is
    another kernel.
    """
    axes: dict[str, tuple[str, str]] = {}  # the size along an axis, and the threads of a block
    for found in _PLACE.finditer(body):
        axis = found["axis"] or found["axis2"]
        width = found["width"] or found["width2"] or found["width3"]
        guard = re.search(rf"\b{found['name']}\s*<\s*(\w+)\b(?!\s*[-+*/.(\[])", body)
        is_open = re.search(rf"\b{found['name']}\s*(?:\+=|\+\+)|\+\+\s*{found['name']}\b", body)
        if axis in axes or guard is None or guard[1] not in given or is_open:
            return []
        if not width.startswith("blockDim") and width not in known and not width.isdigit():
            return []
        axes[axis] = given[guard[1]], width
    if not axes or "?" in " ".join(size for size, _ in axes.values()):
        return []
    if [*"xyz"][: len(axes)] != sorted(axes) or re.search(r"\bblockIdx\.", _PLACE.sub("", body)):
        return []
    usual = THREADS[len(axes)]
    threads = [usual if axes[a][1].startswith("blockDim") else axes[a][1] for a in sorted(axes)]
    sizes = [axes[axis][0] for axis in sorted(axes)]
    blocks = [f"ceil_div({size}, {of})" for size, of in zip(sizes, threads, strict=True)]
    if len(axes) == 1:
        return [*blocks, *threads]
    return [f"dim3({', '.join(blocks)})", f"dim3({', '.join(threads)})"]
