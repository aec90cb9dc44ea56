"""The studies' tables are those of their results, and all their files compile."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests.studies import drafts, table
from tests.studies.decisions import DECISIONS, decided
from tests.studies.libraries import GLUE, HERE, LIBRARIES, code_lines

LIBRARIES_OF = {one.glue: one for one in LIBRARIES.values()}
MODULES = sorted(HERE.rglob("*.py"))
SCRIPTS = sorted((HERE / "faults").glob("*.py"))


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
    assert len(SCRIPTS) > 20
    for path in SCRIPTS:
        text = path.read_text()
        assert "gradoracle" not in text
        assert re.search(r"\bgot\b", text)
        assert re.search(r"\bright\b", text)


def test_decisions_name_a_script_or_say_what_is_no_fault():
    for one in DECISIONS:
        assert one.library in LIBRARIES
        if one.is_fault:
            assert one.known in {path.stem for path in SCRIPTS}
        else:
            assert re.match("(refusal|convention): .", one.known)


def test_every_mismatch_is_decided():
    found = list(table.decisions(table.results()))
    assert len(found) > 50
    assert [f"{name}: {m['says']}" for name, m, known in found if known is None] == []


def test_what_is_no_fault_is_a_mismatch_of_the_results_and_unknown_ones_are_undecided():
    used = {known for _, _, known in table.decisions(table.results())}
    assert [one for one in DECISIONS if not one.is_fault and one not in used] == []
    assert decided("mlx", "relu", "matches_oracle", "relu[0]: got 1.0, want 2.0") is None
    assert decided("no library", "sigmoid", "matches_oracle", "") is None


def test_every_script_has_a_draft_of_what_it_says_and_prints():
    assert {path.stem for path in drafts.UPSTREAM.glob("*.md")} == {path.stem for path in SCRIPTS}
    for path in SCRIPTS:
        script, text = path.read_text(), (drafts.UPSTREAM / f"{path.stem}.md").read_text()
        title, more = drafts.said(script)
        assert text.startswith(f"# {title}\n\n{more}Versions: ")
        assert f"```python\n{script}```\n" in text
        output = text.rpartition("```\n")[0].rpartition("```\n")[2]
        assert "got" in output
        assert "right" in output
        assert "/work" not in text


def test_a_draft_is_made_of_a_script_its_output_and_versions(tmp_path: Path):
    path = tmp_path / "numpy_sum.py"
    path.write_text('"""One line.\n\nMore.\n"""\n\nimport numpy\n\nprint("got 1  right 2")\n')
    text = drafts.draft(path)
    assert text.startswith("# One line\n\nMore.\n\nVersions: numpy ")
    assert text.endswith("```\ngot 1  right 2\n```\n")
    path.write_text('"""It fails."""\n\nraise ValueError("no")\n')
    with pytest.raises(SystemExit, match="numpy_sum.py failed"):
        drafts.draft(path)


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


def test_a_page_says_how_many_operators_of_pytorch_are_certified():
    found = json.loads((HERE / "results" / "torch.json").read_text())["operators"]
    right = sum(of["verdict"] == "certified" for of in found.values())
    page = (HERE.parent.parent / "conformance" / "backends" / "adapters" / "README.md").read_text()
    said = f"Of the {len(found)} operators that `torch.nn.functional` of PyTorch"
    assert said in page
    assert f"{right} are certified by a quick run" in page
