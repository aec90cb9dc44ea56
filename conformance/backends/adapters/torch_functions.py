"""PyTorch's functions, and those people write for it, as a backend: gradients by autograd."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradoracle.conformance.backends.adapters.base import (
    FORMULAS,
    KNOWN,
    Function,
    Shape,
    among,
    arguments_of,
    backend,
    forward,
    gradient,
    refuse_class,
    require_known,
)
from gradoracle.conformance.backends.adapters.parameters import STARS, Taken, parameters_of, taken
from gradoracle.oracle.declaration import (
    Chained,
    Composed,
    Formula,
    algebra,
    argument_names,
    output_of,
    whole_of,
)

if TYPE_CHECKING:
    import torch

BFLOAT16, INDICES = "bfloat16", "indices"
RETURN_INDICES = "return_indices"
NAN = {"nan": "any"}  # PyTorch's max pooling takes the last NaN of a window on a CPU
COMPILERS = (os.environ.get("CXX", "g++"), "g++", "clang++")
LIMITS = (
    "recompile_limit", "accumulated_recompile_limit",  # of PyTorch 2.6 and newer
    "cache_size_limit", "accumulated_cache_size_limit",
)  # fmt: skip
# What PyTorch has one function for, `cross_entropy`, beside the operator of that name.
OF_CROSS_ENTROPY = ("cross_entropy_loss", "soft_target_cross_entropy")
GRAPHS = 2**20  # that torch.compile keeps of a function before it gives up and runs it as it is


def adapt(
    *namespaces: Any, device: str = "cpu", compile: bool = False,  # noqa: A002 - as in torch.compile
    dtypes: Sequence[str] | None = None, contract: Mapping[str, Any] | None = None,
    **functions: Function,
) -> SimpleNamespace:  # fmt: skip
    """Return the backend of some functions on tensors, with all their gradients by autograd.

    Raises:
        ImportError: there is no PyTorch, no such device here, or no compiler for `compile`.
        ValueError: a name or a signature that the protocol does not have.
    """
    torch = _torch()
    _require_device(torch, device)
    if compile and device == "cpu" and not any(map(shutil.which, COMPILERS)):
        raise ImportError("torch.compile needs a C++ compiler here: there is no g++ and no clang++")
    given = among(namespaces, functions)
    if torch.nn.functional in namespaces:
        given = _by_name(given, torch) | functions
    require_known(given, "torch")
    engine, made = Autograd(torch), dict[str, Function]()
    for name in (n for n in given if n in KNOWN):
        made |= _differentiated(name, given[name], engine, compile=compile)
    for name in (n for n in given if n not in KNOWN):
        arrays, optional, options = arguments_of(name)
        made[name] = forward(name, it := taken(given[name], arrays, optional, options), it)
    return backend(
        "torch", made, dtypes=dtypes, contract=contract, policies=NAN,
        from_numpy=partial(_from_numpy, torch, device), to_numpy=partial(_to_numpy, torch),
    )  # fmt: skip


def _by_name(given: Mapping[str, Function], torch: Any) -> dict[str, Function]:
    """Return PyTorch's functions, those with other arguments than the protocol's by its own.

    Those are what their records compare with: `layer_norm` is given the shape of its weight, and
    `matmul` stands elsewhere in PyTorch.  Functions of several results are left out.
    """
    found = {**dict.fromkeys(OF_CROSS_ENTROPY, torch.nn.functional.cross_entropy), **given}
    for name, operator in KNOWN.items():
        kind, formula = algebra(operator.formula), operator.formula
        if isinstance(kind, Chained) or whole_of(formula) is not formula:
            continue
        of_arrays = isinstance(kind, Composed) and kind.of_arrays
        if name not in found or of_arrays or not _fits(name, found[name], torch):
            with suppress(NotImplementedError):  # PyTorch has no such function
                found[name] = _as_the_formula(operator.witness(torch), formula)
    return found


def _fits(name: str, function: Function, torch: Any) -> bool:
    """Return whether a function takes the protocol's arguments: `max_unpool2d` needs others."""
    with suppress(ValueError):
        _taken(name, function, torch)
        return True
    return False


def _as_the_formula(function: Function, formula: Formula) -> Function:
    """Return a function with a formula's arguments: PyTorch's built-in ones have no signature."""

    def called(*arrays: Any, **options: Any) -> Any:
        return function(*arrays, **options)

    called.__signature__ = inspect.signature(formula)  # type: ignore[attr-defined]
    called.__name__ = getattr(function, "__name__", formula.__name__)
    return called


def _differentiated(
    name: str, function: Function, engine: Autograd, *, compile: bool  # noqa: A002
) -> dict[str, Function]:  # fmt: skip
    """Return a forward function and its gradients, by name."""
    operator = KNOWN[name]
    it = _taken(name, function, engine.torch)
    indices = RETURN_INDICES in it.options
    if compile:
        it = _compiled(engine.torch, it)
    extra = {RETURN_INDICES: True} if indices else {}
    made = {name: forward(name, it, lambda values: it({**values, **extra}))}
    for formula, by in operator.gradients.items():
        one = output_of(formula).function
        if INDICES in argument_names(formula)[0] and INDICES not in it.arrays:  # of a max pooling
            made |= {one: engine.scattered} if indices else {}
        elif by in it.arrays:
            made[one] = gradient(one, by, it, engine)
    return made


class Autograd:
    """PyTorch as what differentiates."""

    def __init__(self, torch: Any) -> None:
        """Keep the module, which is imported only where it is used."""
        self.torch = torch

    def zeros(self, shape: Shape, like: torch.Tensor) -> torch.Tensor:
        """Return a tensor of zeros in the dtype and on the device of another."""
        return like.new_zeros(shape)

    def vjp(
        self, function: Callable[[Any], Any], at: torch.Tensor, grad_output: torch.Tensor | None
    ) -> torch.Tensor:
        """Return dE/d(at) by autograd; of several results, the first is differentiated."""
        at = at.detach().requires_grad_()
        y = function(at)
        y = y[0] if isinstance(y, (tuple, list)) else y
        seed = self.torch.ones_like(y) if grad_output is None else grad_output
        return cast("torch.Tensor", self.torch.autograd.grad(y, at, seed)[0])

    def scattered(
        self, grad_output: torch.Tensor, indices: torch.Tensor, *, input_shape: Shape
    ) -> torch.Tensor:
        """Return dx of a max pooling: PyTorch's gradient of reading x where `indices` say.

        That is what a function that returns indices returns them for.
        """
        if indices.ndim != len(input_shape) or indices.shape[:2] != tuple(input_shape[:2]):
            raise ValueError(f"indices {[*indices.shape]} do not fit input_shape {input_shape}")

        def read(x: torch.Tensor) -> torch.Tensor:
            return x.flatten(2).gather(2, indices.flatten(2)).reshape(indices.shape)

        return self.vjp(read, grad_output.new_zeros(input_shape), grad_output)


def _taken(name: str, function: Function, torch: Any) -> Taken:
    """Return what a function, an autograd function, a module or a class of modules takes."""
    arrays, optional, options = arguments_of(name)
    if FORMULAS[name][0].also:
        options = (*options, RETURN_INDICES)
    label = getattr(function, "__name__", type(function).__name__)
    of = partial(taken, arrays=arrays, optional=optional, options=options)
    owner: Any = getattr(function, "__self__", function)
    if _is_class(owner, torch.autograd.Function):
        bare = partial(owner.forward, *[None] * _contexts(owner, torch))
        return of(owner.apply, label=owner.__name__, by_place=True, written=bare)
    if _is_class(function, torch.nn.Module):
        return _class(name, function, of, options)
    if isinstance(function, torch.nn.Module):
        return of(function, label=label, written=function.forward)
    refuse_class(name, function)
    found = of(function, label=label)
    if RETURN_INDICES not in {p.name for p in parameters_of(function) or ()}:
        kept = {n: own for n, own in found.options.items() if n != RETURN_INDICES}
        return Taken(function, label, found.parameters, found.arrays, kept, found.needed)
    return found


def _is_class(value: Any, of: type) -> bool:
    return isinstance(value, type) and issubclass(value, of)


def _contexts(function: Any, torch: Any) -> int:
    """Return how many contexts `forward` takes before its arguments: none beside setup_context."""
    return int(function.setup_context is torch.autograd.Function.setup_context)


def _class(name: str, module: Any, of: Callable[..., Taken], options: Sequence[str]) -> Taken:
    """Return what a class of modules takes: options to make one, arrays in place of its own.

    A convolution or a linear layer is made of the sizes of the weight that it is given.
    """
    torch = _torch()
    arrays = arguments_of(name)[0]
    parameters = parameters_of(module) or ()
    own = {p.name for p in parameters}
    accepted = [n for n in options if n in own or (n == "axis" and "dim" in own)]
    sized = {"in_channels", "in_features"} & own
    known = {*accepted, *(SIZES if sized else ()), *(("dim",) if "axis" in options else ())}
    unknown = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in STARS and p.name not in known
    ]
    if unknown:
        refuse_class(
            name, module, f", which cannot be made without {', '.join(map(repr, unknown))}"
        )

    def function(*given: Any, **chosen: Any) -> Any:
        tensors = dict(zip(arrays, given, strict=False))
        sizes: dict[str, Any] = {}
        if sized:
            sizes = _sizes(name, tensors["weight"], chosen.get("groups", 1), tensors[arrays[0]])
            sizes["bias"] = tensors.get("bias") is not None
        if "axis" in chosen and "axis" not in own:
            chosen["dim"] = chosen.pop("axis")
        first = tensors.pop(arrays[0])
        made = module(**sizes, **chosen)
        if not sized:
            return made(first, *tensors.values())
        swapped = {n: t for n, t in tensors.items() if t is not None}
        return torch.func.functional_call(made, swapped, (first,))

    text = ", ".join([*arrays, "*", *accepted] if accepted else arrays)
    function.forward = module.forward  # type: ignore[attr-defined] # which says where it is
    function.__doc__ = f"f({text.replace('bias', 'bias=None')})"
    return of(function, label=module.__name__)


# Sizes of the weight, of which a layer is made.
SIZES = ("in_channels", "out_channels", "kernel_size", "in_features", "out_features")


def _sizes(name: str, weight: torch.Tensor, groups: int, x: torch.Tensor) -> dict[str, Any]:
    """Return the sizes that make a layer of a weight: its channels and taps, or its features."""
    if name == "linear":
        return {"in_features": weight.shape[1], "out_features": weight.shape[0]}
    filters = weight.shape[1] * groups if "transpose" in name else weight.shape[0]
    return {
        "in_channels": x.shape[1], "out_channels": filters, "kernel_size": tuple(weight.shape[2:])
    }  # fmt: skip


def _compiled(torch: Any, it: Taken) -> Taken:
    """Return the same, compiled: for every shape and option, however many there are."""
    function = torch.compile(it.function, dynamic=True)

    def run(*arrays: Any, **options: Any) -> Any:
        config = import_module("torch._dynamo").config
        limits = {name: GRAPHS for name in LIMITS if hasattr(config, name)}
        with config.patch(limits):
            return function(*arrays, **options)

    return Taken(run, it.label, it.parameters, it.arrays, it.options, it.needed, it.by_place)


def _torch() -> Any:
    try:
        return import_module("torch")
    except ImportError as error:
        raise ImportError("PyTorch is not installed: pip install 'gradoracle[torch]'") from error


def _require_device(torch: Any, device: str) -> None:
    """Raise ImportError, in one sentence, where PyTorch cannot compute on a device here."""
    kind = device.partition(":")[0]
    for holder in (torch.backends, torch):
        available = getattr(getattr(holder, kind, None), "is_available", None)
        if available is not None and not available():
            raise ImportError(f"PyTorch {torch.__version__} finds no device {device!r} here")
    try:
        (torch.zeros(1, device=device) + 1).cpu()
    except Exception as error:
        reason = str(error).splitlines()[0].partition(". ")[0] or type(error).__name__
        raise ImportError(f"PyTorch cannot use the device {device!r} here: {reason}") from error


def _from_numpy(torch: Any, device: str, array: Any) -> Any:
    """Return a tensor of an array's elements; strides that PyTorch lacks are copied away."""
    copy = np.array(array)
    halves = array.dtype.name == BFLOAT16
    made = torch.from_numpy(copy.view(np.int16) if halves else copy)
    return (made.view(torch.bfloat16) if halves else made).to(device)


def _to_numpy(torch: Any, tensor: Any) -> Any:
    """Return a tensor's elements as an array; what is no tensor stays, to be reported."""
    if not isinstance(tensor, torch.Tensor):
        return tensor
    here = tensor.detach().cpu()
    if here.dtype == torch.bfloat16:
        return here.view(torch.int16).numpy().view(import_module("ml_dtypes").bfloat16)
    return here.numpy()
