"""The studies' tables are those of their results, and all their files compile."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests.studies import table
from tests.studies.libraries import FAULTS, GLUE, HERE, LIBRARIES, code_lines

LIBRARIES_OF = {one.glue: one for one in LIBRARIES.values()}
MODULES = sorted(HERE.rglob("*.py"))


def test_the_tables_are_made_of_the_results():
    text = table.README.read_text()
    _, _, rest = text.partition(table.START)
    assert rest.partition(table.END)[0] == f"\n{table.tables()}"


@pytest.mark.parametrize("path", MODULES, ids=[str(p.relative_to(HERE)) for p in MODULES])
def test_every_file_compiles_and_says_what_it_is(path):
    tree = ast.parse(path.read_text(), str(path))
    assert ast.get_docstring(tree).endswith((".", "`."))


def test_every_library_has_its_glue_and_every_glue_a_library():
    glue = {one.glue for one in LIBRARIES.values() if one.glue}
    assert glue == {path.stem for path in GLUE.glob("*.py")}
    for name in glue:
        tree = ast.parse((GLUE / f"{name}.py").read_text())
        given = {t.id for one in tree.body if isinstance(one, ast.Assign) for t in one.targets
                 if isinstance(t, ast.Name)}  # fmt: skip
        assert "backend" in given
        assert 0 < LIBRARIES_OF[name].lines < 150


def test_scripts_need_the_library_and_numpy_only():
    scripts = {path.stem for path in (HERE / "faults").glob("*.py")}
    assert {*FAULTS} <= scripts
    for name in scripts:
        text = (HERE / "faults" / f"{name}.py").read_text()
        assert "gradoracle" not in text
        assert re.search(r"\bgot\b", text)
        assert re.search(r"\bright\b", text)
    assert {library for library, _, _ in FAULTS.values()} <= {*LIBRARIES}


def test_results_are_those_of_a_library_and_carry_versions():
    for path in (HERE / "results").glob("*.json"):
        found = json.loads(path.read_text())
        assert found["library"] == path.stem
        assert {*found["versions"]} == {*LIBRARIES[path.stem].distributions}
        assert all(of["verdict"] for of in found["operators"].values())


def test_lines_of_code(tmp_path: Path):
    path = tmp_path / "glue.py"
    path.write_text(
        '"""Doc.\n\nMore.\n"""\n\n# why\nimport os\n\nx = (\n    1,  # one\n\n    2,\n)\n'
    )
    assert code_lines(path) == 5
