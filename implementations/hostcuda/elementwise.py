"""`ElementwiseKernel` and `ReductionKernel`: CuPy's kernels that are made of an expression.

    squared = ElementwiseKernel("T x, T y", "T z", "z = (x - y) * (x - y)", "squared")
    summed = ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "norm")

The text that they make is CUDA C++, which runs as any other kernel does.  A reduction adds up the
elements of a row in their order; a GPU adds them in another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradoracle.implementations.hostcuda.module import RawKernel
from gradoracle.implementations.hostcuda.text import split

THREADS = 128
C_TYPES = {
    "float32": "float", "float64": "double", "float16": "__half", "bool": "bool",
    **{f"int{bits}": f"int{bits}_t" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"uint{bits}_t" for bits in (8, 16, 32, 64)},
}  # fmt: skip
RAW = """#include <cuda_fp16.h>
template <class T> struct CArray {
    T *data;
    ptrdiff_t count;
    T &operator[](ptrdiff_t i) const { return data[i]; }
    ptrdiff_t size() const { return count; }
};
struct CIndexer { ptrdiff_t count; ptrdiff_t size() const { return count; } };
"""


@dataclass(frozen=True)
class Parameter:
    """A parameter as CuPy spells it: `float32 x`, `T x` for any type, `raw T x` for the array."""

    kind: str
    name: str
    raw: bool


def parameters(text: str) -> list[Parameter]:
    """Return the parameters of a comma-separated list.

    Raises:
        ValueError: one of them is no type and name.
    """
    found = []
    for one in filter(None, map(str.strip, split(text))):
        *before, kind, name = one.split()
        if before not in ([], ["raw"]) or not name.isidentifier():
            raise ValueError(f"a parameter is 'TYPE NAME' or 'raw TYPE NAME', got {one!r}")
        found.append(Parameter(kind, name, bool(before)))
    return found


class _Expression:
    """What both kinds of kernels share: parameters, types, and the texts made for them."""

    def __init__(self, in_params: str, out_params: str, name: str, preamble: str) -> None:
        self.inputs, self.outputs = parameters(in_params), parameters(out_params)
        self.name, self.preamble = name, preamble
        self._kernels: dict[tuple[str, ...], Any] = {}

    @cached_property
    def _all(self) -> list[Parameter]:
        return [*self.inputs, *self.outputs]

    def _types(self, given: Sequence[Any]) -> dict[str, Any]:
        """Return the dtype of every kind, letters' from the arrays that have them.

        Raises:
            TypeError: two arrays of one letter have other dtypes, or no array has it.
        """
        found: dict[str, Any] = {}
        for parameter, value in zip(self._all, given, strict=False):
            if len(parameter.kind) > 1:
                found[parameter.kind] = np.dtype(parameter.kind)
            elif isinstance(value, (np.ndarray, np.generic)) and value.ndim + parameter.raw:
                before = found.setdefault(parameter.kind, value.dtype)
                if before != value.dtype:
                    raise TypeError(
                        f"{self.name}: {parameter.kind} is {before}, but {parameter.name} is "
                        f"{value.dtype}"
                    )
        for parameter, value in zip(self._all, given, strict=False):
            found.setdefault(parameter.kind, np.asarray(value).dtype)
        missing = {one.kind for one in self._all if len(one.kind) == 1} - found.keys()
        if missing:
            raise TypeError(f"{self.name}: no argument says what {min(missing)} is")
        return found | {one.kind: np.dtype(one.kind) for one in self._all if len(one.kind) > 1}

    def _kernel(self, types: dict[str, Any], text: str) -> Any:
        aliases = "".join(
            f"typedef {C_TYPES[dtype.name]} {kind};\n"
            for kind, dtype in sorted(types.items())
            if len(kind) == 1
        )
        key = (text, aliases)
        if key not in self._kernels:
            code = f"{RAW}{aliases}{self.preamble}\n{text}"
            self._kernels[key] = RawKernel(code, self.name)
        return self._kernels[key]

    def _declared(self, *, of_element: bool) -> str:
        """Return the parameters of the kernel's function."""
        found = []
        for one in self._all:
            kind = one.kind if len(one.kind) == 1 else C_TYPES[np.dtype(one.kind).name]
            found.append(f"{kind} *__restrict__ p_{one.name}, ptrdiff_t n_{one.name}")
        return ", ".join([*found, "ptrdiff_t count", *([] if of_element else ["ptrdiff_t terms"])])

    def _bound(self, wanted: Sequence[Parameter], index: str) -> str:
        """Return the declarations of what an expression calls its parameters."""
        lines = []
        for one in wanted:
            kind = one.kind if len(one.kind) == 1 else C_TYPES[np.dtype(one.kind).name]
            if one.raw:
                lines.append(f"const CArray<{kind}> {one.name}{{p_{one.name}, n_{one.name}}};")
            elif one in self.outputs:
                lines.append(f"{kind} &{one.name} = p_{one.name}[{index}];")
            else:
                lines.append(f"const {kind} {one.name} = p_{one.name}[{index}];")
        return " ".join(lines)

    def _allocated(self, shape: tuple[int, ...], types: dict[str, Any]) -> list[Any]:
        return [np.empty(shape, types[one.kind]) for one in self.outputs]


def _passed(arrays: Sequence[Any]) -> list[Any]:
    return [part for array in arrays for part in (array, np.int64(array.size))]


def _answer(results: Sequence[Any]) -> Any:
    return results[0] if len(results) == 1 else tuple(results)


class ElementwiseKernel(_Expression):
    """A function of arrays, element by element, with NumPy's broadcasting."""

    def __init__(
        self, in_params: str, out_params: str, operation: str, name: str = "kernel",
        reduce_dims: bool = True, preamble: str = "", **_others: object,  # noqa: FBT001, FBT002, ARG002
    ) -> None:  # fmt: skip
        """Take the parameters, and the C++ statements that compute the outputs of an element."""
        super().__init__(in_params, out_params, name, preamble)
        self.operation = operation

    def __call__(self, *args: Any, size: int | None = None, **_others: object) -> Any:
        """Return the outputs: new arrays, or those given after the inputs.

        Raises:
            TypeError: too few or too many arguments, or types that do not fit.
            ValueError: shapes that do not fit, or no size at all.
        """
        if len(args) not in (len(self.inputs), len(self._all)):
            raise TypeError(
                f"{self.name} takes {len(self.inputs)} inputs and {len(self.outputs)} outputs, "
                f"got {len(args)} arguments"
            )
        types = self._types(args)
        shape = self._shape(args, size)
        taken = [
            _array(value, types[one.kind], None if one.raw else shape)
            for one, value in zip(self.inputs, args, strict=False)
        ]
        given = list(args[len(self.inputs) :]) or self._allocated(shape, types)
        results = [np.ascontiguousarray(one) for one in given]
        count = int(np.prod(shape))
        if count:
            blocks = -(-count // THREADS)
            kernel = self._kernel(types, self._text())
            kernel((blocks,), (THREADS,), (*_passed([*taken, *results]), np.int64(count)))
        for to, result in zip(given, results, strict=True):
            if to is not result:
                to[...] = result.reshape(to.shape)
        return _answer(given)

    def _shape(self, args: Sequence[Any], size: int | None) -> tuple[int, ...]:
        plain = [v for one, v in zip(self._all, args, strict=False) if not one.raw]
        if size is not None:
            return (size,)
        if not plain:
            raise ValueError(f"{self.name} has raw arguments only: give it size=...")
        return np.broadcast_shapes(*(np.shape(one) for one in plain))

    def _text(self) -> str:
        return (
            f'extern "C" __global__ void {self.name}({self._declared(of_element=True)}) {{\n'
            "const CIndexer _ind{count};\n"
            "ptrdiff_t i = ptrdiff_t(blockIdx.x) * blockDim.x + threadIdx.x;\n"
            "if (i >= count) return;\n"
            f"{self._bound(self._all, 'i')}\n{self.operation};\n(void)_ind;\n}}\n"
        )


class ReductionKernel(_Expression):
    """A reduction over axes: `map_expr` of each element, `reduce_expr` of a and b, then a last."""

    def __init__(
        self, in_params: str, out_params: str, map_expr: str, reduce_expr: str,
        post_map_expr: str, identity: Any, name: str = "reduce_kernel",
        reduce_type: str | None = None, preamble: str = "", **_others: object,
    ) -> None:  # fmt: skip
        """Take the parameters, three expressions, and what an empty sum is."""
        super().__init__(in_params, out_params, name, preamble)
        self.expressions = map_expr, reduce_expr, post_map_expr
        self.identity, self.reduce_type = identity, reduce_type

    def __call__(
        self, *args: Any, axis: Any = None, keepdims: bool = False, out: Any = None,
        **_others: object,
    ) -> Any:  # fmt: skip
        """Return the reduction over `axis`, by default over all.

        Raises:
            TypeError: a number of arguments or types that do not fit.
        """
        if len(args) != len(self.inputs):
            raise TypeError(f"{self.name} takes {len(self.inputs)} inputs, got {len(args)}")
        types = self._types([*args, *([out] if out is not None else [])])
        plain = [v for one, v in zip(self.inputs, args, strict=True) if not one.raw]
        shape = np.broadcast_shapes(*map(np.shape, plain))
        axes = _axes(axis, len(shape))
        kept = [a for a in range(len(shape)) if a not in axes]
        taken = [
            _array(v, types[one.kind], None if one.raw else shape, [*kept, *axes])
            for one, v in zip(self.inputs, args, strict=True)
        ]
        of = tuple(shape[a] for a in kept)
        results = self._allocated(of, types)
        count, terms = int(np.prod(of)), int(np.prod([shape[a] for a in axes]))
        if count:
            kernel, blocks = self._kernel(types, self._text()), -(-count // THREADS)
            sizes = np.int64(count), np.int64(terms)
            kernel((blocks,), (THREADS,), (*_passed([*taken, *results]), *sizes))
        if keepdims:
            results = [np.expand_dims(one, axes) for one in results]
        if out is not None:
            out[...] = results[0]
            return out
        return _answer(results)

    def _text(self) -> str:
        mapped, reduced, last = self.expressions
        plain = [one for one in self.inputs if not one.raw]
        raw = [one for one in self.inputs if one.raw]
        kind = self.reduce_type or self.outputs[0].kind
        kind = kind if len(kind) == 1 else C_TYPES.get(kind, kind)
        return (
            f'extern "C" __global__ void {self.name}({self._declared(of_element=False)}) {{\n'
            "const ptrdiff_t row = ptrdiff_t(blockIdx.x) * blockDim.x + threadIdx.x;\n"
            "if (row >= count) return;\n"
            f"typedef {kind} type_reduce;\ntype_reduce a = type_reduce({self.identity});\n"
            f"{self._bound(raw, '')}\nconst CIndexer _in_ind{{terms}}, _out_ind{{count}};\n"
            "for (ptrdiff_t term = 0; term < terms; ++term) {\n"
            "const ptrdiff_t i = row * terms + term;\n"
            f"{self._bound(plain, 'i')}\nconst type_reduce b = type_reduce({mapped});\n"
            f"a = type_reduce({reduced});\n(void)i;\n}}\n"
            f"{self._bound(self.outputs, 'row')}\n{last};\n(void)_in_ind;\n(void)_out_ind;\n}}\n"
        )


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    chosen = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(sorted(one % ndim for one in chosen)) if ndim else ()


def _array(value: Any, dtype: Any, shape: tuple[int, ...] | None, order: Any = None) -> Any:
    """Return an argument as rows of elements: broadcast, its axes in order, contiguous."""
    array = np.asarray(value, dtype)
    if shape is not None:
        array = np.broadcast_to(array, shape)
        array = array.transpose(order) if order is not None and array.ndim else array
    return np.ascontiguousarray(array)
