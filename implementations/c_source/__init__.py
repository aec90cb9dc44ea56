"""A file of C or C++, or a shared library with its header, as a backend.

    // gradoracle: relu = my_relu(z, y, z.size)
    void my_relu(const float *z, float *y, int n) { ... }

The comments are those of `implementations.cuda_source`, whose docstring lists what they can say,
with a call in place of a launch.  Several calls of one function are made one after the other.  A
function is declared in the file as C has it; it takes numbers and pointers to numbers, and the
arrays that it gets are in row-major order.  It returns nothing, or an integer, which must be 0, or
where a result has no axes, as a loss, that number:

    // gradoracle: cross_entropy = my_loss(logits, target, N, C, mean)
    float my_loss(const float *logits, const int *target, int N, int C, bool mean) { ... }

`kernel.c` is compiled by CC (default cc) with -O2 and CFLAGS, `kernel.cpp` by CXX (default c++)
with -O2 and CXXFLAGS; so is a header that holds functions, `kernel.h`.  Functions of a C++ file may
be templates, as in my_relu<{T}>, or lie in namespaces.  A library is taken as it is; the comments
and declarations are in a header: `libmine.so@mine.h`, where the header's name is relative to the
library's folder.

Every array lies between margins of NaN (of integers, below 0), and results are NaN before the
call.  A function that writes to a margin, or to an array that cannot be written, raises
`StrayWrite`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle.implementations.c_source.function import Function, StrayWrite
from gradoracle.implementations.c_source.library import (
    COMPILED,
    CompileError,
    NoCompiler,
    compiled,
    opened,
)
from gradoracle.implementations.cuda_source import by_pointers, dtypes_of, not_claimed
from gradoracle.implementations.cuda_source.comments import C_TYPES, Launch, Plan, read
from gradoracle.implementations.cuda_source.expressions import SourceError, constants
from gradoracle.implementations.cuda_source.results import Names
from gradoracle.implementations.cuda_source.running import assumed, evaluated, functions, held_by
from gradoracle.implementations.cuda_source.signatures import (
    Parameter,
    converted,
    fitting,
    integer_policies,
)
from gradoracle.implementations.cuda_source.unknown_names import require_known
from gradoracle.implementations.hostcuda.text import without_comments

__all__ = ["CompileError", "NoCompiler", "SourceError", "StrayWrite", "backend"]
HEADER = (
    "needs a header with declarations and gradoracle: comments: a file of its name that ends in .h "
    "beside it, or --header FILE"
)


def backend(given: str) -> SimpleNamespace:
    """Return the backend that a file of C or C++ is, or a library and a header, `lib.so@mine.h`.

    Raises:
        SourceError: a comment or a declaration cannot be understood, or there is none.
        NoCompiler: the file must be compiled, and there is no compiler.
        CompileError: the compiler refuses the file.
        OSError: the library cannot be loaded.
    """
    name, _, header = given.partition("@")
    file = Path(name).absolute()
    source = file if file.suffix in COMPILED else file.parent / header
    if source is not file and not header:
        raise SourceError(f"{file.name} {HEADER}")
    text = source.read_text(encoding="utf-8")
    plans, contract = read(text, source.name, calls=True)
    if contract.pop("options", None):
        raise SourceError(
            f"{source.name}: options are of CUDA; CFLAGS and CXXFLAGS have those of C"
        )
    named = constants(without_comments(text))
    require_known(plans, named)
    dtypes = dtypes_of(plans, contract)
    launches = {
        launch.kernel.replace("{T}", C_TYPES[d]): launch
        for plan in plans.values() for launch in plan.launches if not launch.reduces for d in dtypes
    }  # fmt: skip
    library = (compiled if source is file else partial(opened, header=source))(file, launches)
    called = {name: Function(name, launches[name].where, library) for name in launches}
    contract |= by_pointers(plans, contract, lambda name: [called[name].signature], [*C_TYPES])
    dtypes = dtypes_of(plans, contract)
    first = C_TYPES[dtypes[0]]
    signatures = {name: function.signature for name, function in called.items()}
    policies = integer_policies(
        plans, lambda name: signatures.get(name.replace("{T}", first)),
        contract.get("policies", {}),
    )  # fmt: skip
    left_out = not_claimed(plans, contract)
    claimed = [(name, d) for d in dtypes for name in plans if name not in left_out.get(d, ())]
    _require_fitting(plans, called, claimed, policies)
    made = functions(plans, partial(_call, called), policies, source, on_host=True, constants=named)
    contract |= {
        "functions": [*plans], "dtypes": dtypes, "policies": policies, "runs_on": library.runs_on,
        "not_claimed": left_out, "assumes": assumed(plans),
    }  # fmt: skip
    return SimpleNamespace(contract=contract, **made)


def _require_fitting(
    plans: Mapping[str, Plan], called: Mapping[str, Function],
    claimed: Sequence[tuple[str, str]], policies: Mapping[str, Any],
) -> None:  # fmt: skip
    """Raise SourceError where an argument does not fit its parameter in a claimed dtype."""
    for name, dtype in claimed:
        held = held_by(name, plans[name], dtype, policies)
        for launch in (one for one in plans[name].launches if not one.reduces):
            function = called[launch.kernel.replace("{T}", C_TYPES[dtype])]
            fitting(launch, [function.signature], held)


def _of_its_type(value: Any, parameter: Parameter) -> Any:
    """Return an array of integers or booleans of the type that a parameter points to."""
    is_whole = isinstance(value, np.ndarray) and value.dtype.kind in "iub"
    return converted(value, parameter) if is_whole else value


def _call(called: dict[str, Function], launch: Launch, names: Names, dtype: object) -> None:
    _, values = evaluated(launch, names, dtype)
    function = called[launch.kernel.replace("{T}", C_TYPES[str(dtype)])]
    given = [*map(_of_its_type, values, function.signature.parameters)]
    returned = function(given)
    for one, before in zip(given, values, strict=True):
        if one is not before and before.flags.writeable:
            before[...] = one
    if function.gives_result:
        if names["out"].ndim:
            raise SourceError(
                f"{launch.where}: {function.name} returns a number, and the result is an array of "
                f"shape {names['out'].shape}: pass it a pointer"
            )
        names["out"][...] = returned
    elif returned:
        raise ValueError(f"{function.name} returned {returned}, and 0 means that all went well")
