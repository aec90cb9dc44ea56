"""Options that say what a backend is made of: `--torch conv2d=mypkg.ops:my_conv`, `--header`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.options import names_of

FUNCTIONS = "[NAME=]PATH,..."  # a longer one is cut in the middle of a word
PANEL = "Functions in place of a backend"


def _option(help_text: str, *names: str, metavar: str | None = None) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(
        *names, metavar=metavar, help=help_text, rich_help_panel=PANEL
    )
    return found


Torch = Annotated[
    list[str],
    _option(
        "Functions on tensors, such as conv2d=mypkg.ops:my_conv; gradients by autograd.",
        "--torch",
        metavar=FUNCTIONS,
    ),
]
Jax = Annotated[
    list[str],
    _option("Functions on JAX arrays; gradients by jax.vjp.", "--jax", metavar=FUNCTIONS),
]
Numpy = Annotated[
    list[str],
    _option("Functions on NumPy arrays, gradients included.", "--numpy", metavar=FUNCTIONS),
]
Device = Annotated[
    str | None, _option("Of --torch: cpu, cuda, mps, xpu.", "--device", metavar="NAME")
]
Compile = Annotated[bool, _option("Of --torch: through torch.compile.", "--compile")]
NoJit = Annotated[bool, _option("Of --jax: do not compile.", "--no-jit")]
LayoutOption = Annotated[
    str | None, _option("Of --numpy: NCHW, NHWC, CHW or HWC.", "--layout", metavar="NAME")
]
Weights = Annotated[
    str | None, _option("Of --numpy: OIHW, HWIO or OHWI.", "--weights", metavar="NAME")
]
NoBatch = Annotated[bool, _option("Of --numpy: one image at a time.", "--no-batch")]
Flipped = Annotated[
    bool, _option("Of --numpy: the kernel is turned round, a true convolution.", "--flipped")
]
NoPairs = Annotated[bool, _option("Of --numpy: one number in place of a pair.", "--no-pairs")]
Header = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Of a library, ./libmine.so: declarations and comments."),
]


def declared(backends: list[str], header: Path | None) -> list[str]:
    """Return the names of backends, of libraries with the header that declares them."""
    if header is None:
        return backends
    from gradoracle.conformance.backends.registry import (  # noqa: PLC0415 - --help stays quick
        UnknownBackend,
        with_header,
    )

    try:
        return [with_header(name, str(header)) for name in backends]
    except UnknownBackend as error:
        raise typer.BadParameter(str(error)) from error


def adapted(
    functions: dict[str, list[str]], options: dict[str, dict[str, str | bool | None]],
    dtypes: list[str],
) -> list[str]:  # fmt: skip
    """Return the names of the backends that functions make, by adapter; `options` are theirs.

    An option that is None or False was not given.  The dtypes that are to be checked are claimed.
    """
    found = []
    for adapter, paths in functions.items():
        chosen = {n: v for n, v in options[adapter].items() if v not in (None, False)}
        if chosen and not paths:
            raise typer.BadParameter(f"{', '.join(chosen)}: an option of --{adapter} only")
        items = [*names_of(paths), *(_item(n, v) for n, v in chosen.items())]
        items += [f"dtypes={'+'.join(names_of(dtypes))}"] if dtypes else []
        found += [f"{adapter}!{','.join(items)}"] if paths else []
    return found


def _item(option: str, value: str | bool | None) -> str:  # noqa: FBT001 - an option's value
    """Return an option as a name has it: --no-batch is batch=no."""
    name = option.removeprefix("--")
    if value is True:
        return f"{name.removeprefix('no-')}={'no' if name.startswith('no-') else 'yes'}"
    return f"{name}={value}"
