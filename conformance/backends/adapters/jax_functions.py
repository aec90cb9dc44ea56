"""Functions on JAX arrays as a backend: gradients by `jax.vjp`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial, wraps
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle.conformance.backends.adapters.base import (
    Function,
    Shape,
    among,
    backend,
    differentiated,
    require_known,
)

FLOAT64 = "float64"


def adapt(
    *namespaces: Any, jit: bool = True, dtypes: Sequence[str] = ("float32",),
    contract: Mapping[str, Any] | None = None, **functions: Function,
) -> SimpleNamespace:  # fmt: skip
    """Return the backend of some functions on JAX arrays, with all their gradients by `jax.vjp`.

    With `jit`, each is compiled for its options and every shape.  If `dtypes` has float64, JAX is
    run with 64-bit numbers.

    Raises:
        ImportError: there is no JAX.
        ValueError: a name or a signature that the protocol does not have.
    """
    jax = imported()
    given = among(namespaces, functions)
    require_known(given, "jax")
    made = differentiated(Vjp(jax), given)
    wide = FLOAT64 in dtypes
    shown = {name: _on_numpy(jax, one, jit=jit, wide=wide) for name, one in made.items()}
    return backend("jax", shown, dtypes=dtypes, contract=contract, policies={"nan": "any"})


def imported() -> Any:
    """Return the module of JAX.

    Raises:
        ImportError: there is none; the message says what to install.
    """
    try:
        return import_module("jax")
    except ImportError as error:
        raise ImportError("JAX is not installed: pip install 'gradoracle[jax]'") from error


class Vjp:
    """JAX as what differentiates."""

    def __init__(self, jax: Any) -> None:
        """Keep the module, which is imported only where it is used."""
        self.jax = jax

    def zeros(self, shape: Shape, like: Any) -> Any:
        """Return an array of zeros in the dtype of another."""
        return self.jax.numpy.zeros(shape, like.dtype)

    def vjp(self, function: Callable[[Any], Any], at: Any, grad_output: Any | None) -> Any:
        """Return dE/d(at); of several results, the first is differentiated."""

        def first(value: Any) -> Any:
            y = function(value)
            return y[0] if isinstance(y, (tuple, list)) else y

        y, back = self.jax.vjp(first, at)
        return back(self.jax.numpy.ones_like(y) if grad_output is None else grad_output)[0]


@contextmanager
def _whole_tracebacks(jax: Any) -> Iterator[None]:
    """Leave JAX's own lines in tracebacks: to remove them takes longer than to refuse a call."""
    known = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    try:
        yield
    finally:
        jax.config.update("jax_traceback_filtering", known)


def _on_numpy(jax: Any, function: Function, *, jit: bool, wide: bool) -> Function:
    """Return a function of JAX arrays as one of NumPy's, compiled once for its options."""

    @cache
    def of(options: tuple[tuple[str, Any], ...]) -> Function:
        chosen = partial(function, **dict(options))
        return jax.jit(chosen) if jit else chosen

    @wraps(function)
    def run(*arrays: Any, **options: Any) -> Any:
        with jax.enable_x64(wide), _whole_tracebacks(jax):
            # jax.numpy.asarray compiles a program for every new shape.
            given = [a if a is None else jax.device_put(a) for a in arrays]
            result = of(tuple(sorted(options.items())))(*given)
            if isinstance(result, (tuple, list)):
                return tuple(np.array(one) for one in result)
            return np.array(result)

    return run
