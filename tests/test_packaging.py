"""What an installed copy has: every package, and every file that is read beside its modules."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS = ("oracle", "implementations", "conformance")
PUBLIC = "gradoracle.conformance.public"  # the folder of `gradoracle` itself


def package_of(file):
    name = ".".join(("gradoracle", *file.parent.relative_to(ROOT).parts))
    return "gradoracle" if name == PUBLIC else name


def test_every_package_is_installed():
    packages = {
        package_of(file) for folder in FOLDERS for file in (ROOT / folder).rglob("__init__.py")
    }
    assert {*SETUPTOOLS["packages"]} >= packages


def test_every_file_that_is_no_module_is_installed():
    installed = SETUPTOOLS["package-data"]
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.*"):
            if file.suffix in (".py", ".md") or "__pycache__" in file.parts:
                continue  # compiled code
            globs = [*installed["*"], *installed.get(package_of(file), [])]
            assert any(fnmatch(file.name, glob) for glob in globs), file
