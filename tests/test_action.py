"""The action that certifies, and the workflow that uses it: their YAML, and their shell run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest
import yaml

from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.reports.statement import PREDICATE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (which("bash") and which("jq")), reason="no bash or no jq"),
]

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".github"
ACTION = yaml.safe_load((FOLDER / "actions" / "certify" / "action.yml").read_text())
WORKFLOWS = {file.name: yaml.safe_load(file.read_text()) for file in FOLDER.glob("workflows/*.yml")}
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
(STEP,) = ACTION["runs"]["steps"]
WRONG = """
from gradoracle.implementations.im2col import relu
def relu_grad(grad_output, z):
    return grad_output * (z >= 0)
contract = {"dtypes": ["float32"]}
"""


def steps():
    """Return every step of every workflow, with the name of its job."""
    return [
        (name, step)
        for workflow in WORKFLOWS.values()
        for name, job in workflow["jobs"].items()
        for step in job["steps"]
    ]


def named(text):
    """Return what a text takes of the context, such as inputs.backend."""
    return set(EXPRESSION.findall(text))


def test_the_action_is_composite_and_every_shell_is_named():
    assert ACTION["runs"]["using"] == "composite"
    assert all(step["shell"] == "bash" for step in ACTION["runs"]["steps"] if "run" in step)
    assert {*ACTION["inputs"]} == {"backend", "operators", "profile", "seed", "jobs", "args"}
    assert {*ACTION["outputs"]} == {"verdict", "certificate"}
    assert all(
        one["description"] for one in (*ACTION["inputs"].values(), *ACTION["outputs"].values())
    )


def test_what_is_taken_is_there_and_no_text_of_a_user_is_in_a_script():
    used = {name for value in STEP["env"].values() for name in named(value)}
    assert used == {f"inputs.{name}" for name in ACTION["inputs"]}
    for name, one in ACTION["outputs"].items():
        assert named(one["value"]) == {f"steps.{STEP['id']}.outputs.{name}"}
    scripts = [STEP["run"], *(step["run"] for _, step in steps() if "run" in step)]
    assert not any("${{" in script.replace("${{ matrix", "") for script in scripts)


def test_the_workflow_uses_the_action_with_its_inputs():
    used = [step for _, step in steps() if step.get("uses") == "./.github/actions/certify"]
    assert len(used) == 1
    assert {*used[0]["with"]} <= {*ACTION["inputs"]}
    assert {*WORKFLOWS} == {"ci.yml", "certify.yml"}
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {"contents": "read"}


def test_what_is_signed_is_what_was_written():
    job = WORKFLOWS["certify.yml"]["jobs"]["sign"]
    (sign,) = [one for one in job["steps"] if one["uses"].startswith("actions/attest@")]
    assert sign["with"]["predicate-type"] == PREDICATE
    assert job["permissions"] == {"id-token": "write", "attestations": "write"}
    (uploaded,) = [one["with"]["path"] for _, one in steps() if "upload" in one.get("uses", "")]
    assert {sign["with"][name] for name in ("subject-checksums", "predicate-path")} <= {
        *uploaded.split()
    }


@pytest.fixture
def shell(tmp_path):
    """Return a function that runs a step as GitHub does; it gives the exit code and the outputs."""
    (tmp_path / "kernels.py").write_text(WRONG)
    (tmp_path / "gradoracle").write_text(f'#!/bin/sh\nexec {sys.executable} -m gradoracle "$@"\n')
    (tmp_path / "gradoracle").chmod(0o755)

    def run(step, **context):
        outputs = tmp_path / "outputs"
        outputs.write_text("")
        given = {n: EXPRESSION.sub(lambda m: context[m[1]], v) for n, v in step["env"].items()}
        done = subprocess.run(
            [which("bash"), "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500,
            env=os.environ | given | {
                "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
                "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(tmp_path / "page.md"),
            },
        )  # fmt: skip
        told = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        return done.returncode, told, done.stdout + done.stderr

    return run


def inputs(**given):
    defaults = {name: one.get("default", "") for name, one in ACTION["inputs"].items()}
    return {f"inputs.{name}": value for name, value in {**defaults, **given}.items()}


@pytest.mark.slow
def test_the_steps_run_and_give_their_outputs(shell, tmp_path):
    chosen = inputs(backend="./kernels.py", operators="relu", profile="quick", seed="1", jobs="1")
    chosen["inputs.args"] = "--remember '--junit=a b.xml'"
    code, told, said = shell(STEP, **chosen)
    assert code == 1, said
    assert told["certificate"] == "gradoracle-certificate.json"
    certificate = Certificate.from_json((tmp_path / told["certificate"]).read_text())
    assert told["verdict"] == f"{certificate.verdict} ({certificate.level})"
    assert "(quick: 25 geometries a check; " in told["verdict"]
    assert (certificate.seed, certificate.examples) == (1, 25)
    assert "::error file=kernels.py,line=3,title=relu_grad of ./kernels.py breaks" in said
    assert (tmp_path / "a b.xml").is_file()
    assert (tmp_path / "gradoracle.regressions.json").is_file()
    assert f"**{certificate.verdict} (quick)**" in (tmp_path / "page.md").read_text()
    written = next(one for _, one in steps() if "badge.svg" in one.get("run", ""))
    code, _, said = shell(written, **{"steps.certify.outputs.certificate": told["certificate"]})
    assert code == 0, said
    assert "not certified" in (tmp_path / "badge.svg").read_text()
    predicate = json.loads((tmp_path / "predicate.json").read_text())
    assert predicate["verdict"] == certificate.in_full
    digest = certificate.files["kernels.py"]
    assert (tmp_path / "subjects.txt").read_text() == f"{digest}  kernels.py\n"
    (tmp_path / "pyproject.toml").write_text("[tool.gradoracle]\noperator = 1\n")
    code, told, said = shell(STEP, **inputs())
    assert (code, told) == (2, {}), said
    assert "tool.gradoracle.operator is unknown" in said
