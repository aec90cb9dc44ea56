"""`gradoracle new`."""

from __future__ import annotations

from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from gradoracle.conformance.cli.app import app

PROPOSALS = "gradoracle.implementations.cuda_source.proposals"  # loaded where it is asked for
OF_C = (".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp")
END = "\n\n"  # of the proposals above a text
SKELETON = "gradoracle.conformance.cli.skeleton"


class Kind(NamedTuple):
    """What a kind of kernels needs beside what all have: its files, entry point and packages."""

    sources: dict[str, str]  # of the package, by the name of the template
    entry: str
    filled: str  # the file that has the functions
    dependencies: str


KINDS = {
    "numpy": Kind({"numpy.py": "kernels.py"}, "NAME.kernels", "NAME/kernels.py", '"numpy"'),
    "torch": Kind(
        {"torch.py": "kernels.py"}, "NAME.kernels:backend", "NAME/kernels.py",
        '"gradoracle", "torch"',
    ),
    **{
        kind: Kind(
            {f"{kind}.py": "kernels.py", file: file}, "NAME.kernels:backend", f"NAME/{file}",
            '"gradoracle", "numpy"',
        )
        for kind, file in (("cuda", "kernels.cu"), ("c", "kernels.c"))
    },
}  # fmt: skip
OF_ALL = {
    "pyproject.toml": "pyproject.toml", "README.md": "README.md",
    "gitignore": ".gitignore",
    "test_kernels.py": "tests/test_kernels.py", "workflow.yml": ".github/workflows/kernels.yml",
}  # fmt: skip


@app.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the package and its folder.")
    ] = "",
    *,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A file of CUDA, C or C++: propose comments. No NAME: print."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Write the file with the proposals, and no package.")
    ] = None,
    torch: Annotated[
        bool, typer.Option("--torch", help="Functions on tensors, gradients by autograd.")
    ] = False,
    cuda: Annotated[bool, typer.Option("--cuda", help="Kernels in a file of CUDA C++.")] = False,
    c: Annotated[bool, typer.Option("--c", help="Functions in a file of C.")] = False,
    numpy: Annotated[bool, typer.Option("--numpy", help="Functions on arrays (default).")] = False,
) -> None:
    """Write a package of kernels that can be certified: functions to go on from.

    It has the entry point that gives the backend its name, a test and a workflow
    for CI. What it is written with is right; put your kernels in its place.
    With --from kernel.cu (or .c, .cpp, .h), the kernels are yours, and the comments
    that say how they are called are proposed: guessed from names, types and
    launches. --to checked.cu writes the file with them beside its headers:

      gradoracle new --from kernel.cu --to checked.cu

      gradoracle certify ./checked.cu
    """
    if to and not source:
        raise typer.BadParameter("--to needs --from FILE, whose text is written with proposals")
    proposed = _proposed(source) if source else ""
    if source and to:
        _write_text(to, proposed)
        here = to if to.is_absolute() else f"./{to}"
        typer.echo(f"{proposed.partition(END)[0]}\nNow: read {to}, and gradoracle certify {here}")
        return
    if source and not name:
        typer.echo(proposed.partition(END)[0])
        return
    asked = {"torch": torch, "cuda": cuda, "c": c, "numpy": numpy}
    kind = _kind([one for one, wanted in asked.items() if wanted], source)
    if not (name.isidentifier() and name.islower()):
        raise typer.BadParameter(f"{name!r} must be a name in small letters, such as mykernels")
    folder = Path(name)
    if folder.exists():
        raise typer.BadParameter(f"there is a {name!r} here already; nothing was written")
    paths = _written(folder, name, kind)
    if source:
        (folder / kind.filled.replace("NAME", name)).write_text(proposed, encoding="utf-8")
        typer.echo(proposed.partition(END)[0])
    for path in paths:
        typer.echo(f"  {path}")
    typer.echo(
        f"Now: cd {name} && pip install -e '.[test]' && gradoracle certify {name}\n"
        f"The functions are in {kind.filled.replace('NAME', name)}."
    )


def _kind(chosen: list[str], source: Path | None) -> Kind:
    """Return the kind that is asked for, or that of a source, with its file ending as that does."""
    if source is None:
        if len(chosen) > 1:
            raise typer.BadParameter(f"--{chosen[0]} and --{chosen[1]}: one of them")
        return KINDS[chosen[0] if chosen else "numpy"]
    kind, suffix = KINDS["c" if source.suffix in OF_C else "cuda"], source.suffix
    template, file = next((t, f) for t, f in kind.sources.items() if t.startswith("kernels"))
    named = f"{file.partition('.')[0]}{suffix}"
    return kind._replace(sources={**kind.sources, template: named}, filled=f"NAME/{named}")


def _write_text(to: Path, text: str) -> None:
    """Write a file that is not there yet."""
    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise typer.BadParameter(f"there is a {str(to)!r} already; nothing was written") from error
    except OSError as error:
        raise typer.BadParameter(f"--to {to}: cannot be written: {error.strerror}") from error


def _written(folder: Path, name: str, kind: Kind) -> list[Path]:
    """Write the files of a package and return their paths."""
    entry, filled = (text.replace("NAME", name) for text in (kind.entry, kind.filled))
    named = {
        "NAME": name, "ENTRY": entry, "FILLED": filled, "DEPENDENCIES": kind.dependencies,
        "KERNELS": Path(filled).name,
    }  # fmt: skip
    places = {**OF_ALL, **{one: f"{name}/{file}" for one, file in kind.sources.items()}}
    paths = []
    for template, place in places.items():
        text = files(SKELETON).joinpath(f"{template}.txt").read_text("utf-8")
        for word, value in named.items():
            text = text.replace(word, value)
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    init = folder / name / "__init__.py"
    init.write_text(f'"""The kernels of {name}."""\n', encoding="utf-8")
    return [*paths, init]


def _proposed(source: Path) -> str:
    """Return the text of a file with proposed comments."""
    if not source.is_file():
        raise typer.BadParameter(f"there is no file {str(source)!r} to read kernels from")
    text = source.read_text(encoding="utf-8", errors="replace")
    known = import_module(PROPOSALS)
    is_c = source.suffix in OF_C
    found = known.proposals(text, calls=is_c)
    if not found:
        what = "function that is given floats by a pointer" if is_c else "__global__ function"
        raise typer.BadParameter(f"{str(source)!r} has no {what}")
    return str(known.with_proposals(text, found))
