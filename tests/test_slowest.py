"""The command that tells where the time of a test run goes."""

import pytest

from tests.slowest import main

RUN = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_one[1]" time="1.5"/>
<testcase classname="tests.test_a" name="test_one[2]" time="2.5"/>
<testcase classname="tests.test_b" name="test_two" time="6"/>
<testcase time="0"/>
</testsuite></testsuites>"""


def test_files_and_functions_are_listed_slowest_first(tmp_path, capsys):
    file = tmp_path / "run.xml"
    file.write_text(RUN)
    assert main([str(file)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        ["6.0", "s", "60.0%", "1", "test_b"],
        ["4.0", "s", "40.0%", "2", "test_a"],
        ["6.0", "s", "60.0%", "1", "test_b::test_two"],
        ["4.0", "s", "40.0%", "2", "test_a::test_one"],
    ]
    assert main([str(file), "1"]) == 0
    assert "test_a" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("<testsuites/>", (), "has no tests: was it written by pytest --junitxml?"),
        ("nonsense", (), "must be a file that pytest --junitxml wrote"),
        (RUN, ("0",), "usage: python -m tests.slowest FILE [COUNT of at least 1]"),
    ],
)
def test_what_is_no_run_is_told(tmp_path, capsys, text, arguments, said):
    file = tmp_path / "run.xml"
    file.write_text(text)
    assert main([str(file), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert main([str(tmp_path / "absent.xml")]) == 2
