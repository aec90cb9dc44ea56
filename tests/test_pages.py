"""Pages of certificates and formulas: what stands in them is what the arrays and formulas are."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from html import escape
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.benchmarks.history import Saved
from gradoracle.conformance.benchmarks.results import Timing
from gradoracle.conformance.cli import app
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.pages import render
from gradoracle.conformance.pages.book import book
from gradoracle.conformance.pages.certificate_page import certificate_page
from gradoracle.conformance.pages.diff_page import changes, diff_page
from gradoracle.conformance.pages.findings import findings
from gradoracle.conformance.pages.formula_page import formula_page
from gradoracle.conformance.pages.heat_maps import PART, WHOLE, Marks, heat_map, maps
from gradoracle.conformance.pages.history_page import history_page
from gradoracle.conformance.pages.windows import Axis, geometry_of
from gradoracle.conformance.reports import screen
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.reports.certificate_json import content_of
from gradoracle.conformance.reports.explain import SCREEN, find, show, topics
from gradoracle.conformance.reports.schema import Malformed
from gradoracle.conformance.reports.terminal import Look
from gradoracle.conformance.reports.traced import terms_of, traced
from gradoracle.conformance.reports.worked_chain import chain_example
from gradoracle.conformance.reports.worked_example import example, written
from gradoracle.conformance.runs.command import differences
from gradoracle.implementations import im2col
from gradoracle.oracle import conv2d_grad_input
from gradoracle.oracle.declaration import displayed, evaluate
from gradoracle.oracle.errata import ERRATA
from gradoracle.oracle.windows import meetings
from tests.paged import CALLS, certificate

MIB = 2**20
NAMES = sorted(topics())


class Reader(HTMLParser):
    """Collects the elements of a page, its text, and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.loaded, self.ids = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        self.ids |= {found["id"]} if "id" in found else set()
        self.loaded += [found[name] for name in ("src", "srcset", "data") if name in found]
        if tag == "link":
            self.loaded.append(found["href"])

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def flat(text):
    return " ".join(text.split())


# -- what meets where -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_terms_add_up_to_the_answer(name):
    one = example(*topics()[name])
    if one is None:
        assert name in ("network_backward", "graph_backward")
        return
    found = traced(one.formula, one.call)
    if found is None:
        assert not one.sentence
        return
    for place in np.ndindex(one.answer.shape):
        total = sum(
            term.coefficient * np.prod([Fraction(float(np.asarray(one.call[f.name])[f.place]))
                                        for f in term.factors])
            for term in terms_of(found[place])
        )  # fmt: skip
        assert float(total) == one.answer[place]
    assert one.sentence.endswith(f"= {written(one.answer[one.place])}")


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_axes_meet_as_the_oracles_windows_do(stride, padding, dilation):
    for pixels, taps in product((1, 4, 7), (1, 2, 3)):
        room = pixels + 2 * padding - (taps - 1) * dilation - 1
        if room < 0:
            continue
        windows = room // stride + 1
        axis = Axis(pixels, taps, windows, stride, padding, dilation)
        met = meetings(*((n,) for n in (pixels, taps, windows, stride, padding, dilation)))
        i, p, h = met._all
        every = {*zip(i.tolist(), p.tolist(), h.tolist(), strict=True)}
        for kind, at, side in (("window", 0, windows), ("tap", 1, taps), ("pixel", 2, pixels)):
            for number in range(side):
                want = {one for one in every if one[at] == number}
                assert {*axis.meetings(kind, number)} == want


def test_geometry_is_found_by_axes():
    topic, call = topics()["conv2d_grad_input"], CALLS["conv2d_grad_input"]()
    geometry = geometry_of(*topic, call, call["input_shape"])
    assert geometry.kind == "pixel"
    assert geometry.image == "x"
    assert geometry.axes == (Axis(6, 3, 3, 2, 1, 1), Axis(6, 2, 8, 1, 2, 2))
    topic = topics()["conv_transpose2d"]
    call = example(*topic).call
    geometry = geometry_of(*topic, call, (1, 1, 4, 4))
    assert (geometry.kind, geometry.image) == ("pixel", "grad_output")
    assert geometry.axes == (Axis(4, 2, 3, 1, 0, 1),) * 2
    assert geometry_of(*topics()["linear"], {}, (2, 2)) is None


# -- heat maps ------------------------------------------------------------------------------------


def numbers_in(svg):
    return re.findall(r"<text x=[^>]*>([^<]*)</text>", svg)


def test_heat_maps_have_every_number_in_its_cell():
    array = np.arange(-6.0, 6.0).reshape(3, 4) / 2
    svg = heat_map(array, "a", 3.0)
    assert numbers_in(svg) == [written(v) for v in array.ravel()]
    where = re.findall(r'<text x="([\d.]+)" y="([\d.]+)">', svg)
    rows = sorted({float(y) for _, y in where})
    columns = sorted({float(x) for x, _ in where})
    assert [(rows.index(float(y)), columns.index(float(x))) for x, y in where] == [
        *np.ndindex(3, 4)
    ]
    assert 'aria-label="a, 3 by 4: -3, -2.5' in svg
    shades = {
        css: path.count("M") for css, path in re.findall(r'<path class="(\w+)" d="([^"]*)"', svg)
    }
    assert sum(shades.values()) == 12
    assert sum(n for css, n in shades.items() if css[0] == "n") == (array < 0).sum()
    assert shades["zero"] == 1


def test_wrong_elements_are_framed_and_large_arrays_are_cropped_around_them():
    array, wrong = np.zeros((2, 50, 60)), np.zeros((2, 50, 60), bool)
    wrong[1, 40, 59] = True
    array[1, 40, 59] = 7
    (one,) = maps(array, "a", Marks(wrong=wrong))
    assert one.caption == "[1]"
    assert numbers_in(one.svg).count("7") == 1
    assert len(numbers_in(one.svg)) == PART**2
    assert one.svg.count('class="wrong"') == 1
    labels = re.findall(r'<text class="at"[^>]*>(\d+)<', one.svg)
    assert {"40", "59"} <= {*labels}
    whole = maps(np.zeros((WHOLE, WHOLE)), "a")
    assert len(numbers_in(whole[0].svg)) == WHOLE**2


@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 0), (1, 1, 1, 2, 2), (0, 2, 2)])
def test_arrays_of_any_shape_are_shown(shape):
    shown = maps(np.ones(shape), "a")
    assert sum(len(numbers_in(one.svg)) for one in shown) == np.prod(shape)


def test_numbers_that_are_none_are_shown():
    svg = heat_map(np.array([[np.nan, np.inf, -np.inf, 1.0]]), "a", 1.0)
    assert numbers_in(svg) == ["nan", "inf", "-inf", "1"]
    assert 'class="odd"' in svg


# -- certificates ---------------------------------------------------------------------------------


def test_a_page_loads_nothing_and_runs_its_own_script_only():
    text = certificate_page(certificate())
    page = Reader(text)
    assert not page.loaded
    assert "http" not in re.sub(r"http-equiv", "", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv"))
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_what_a_certificate_says_is_escaped():
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    made = certificate(1, backend=evil)
    report = made.outcomes[0].mismatch
    made.outcomes[0].reason = report["script"] = report["equation"] = evil
    report["arguments"] = {evil: report["arguments"]["x"]}
    page = Reader(certificate_page(made, evil))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert page.text.count(evil) >= 5


def test_every_mismatch_has_its_arrays_its_sum_and_its_windows():
    found = findings(certificate())
    assert [one.outcome.formula for one in found] == [*CALLS]
    for one in found:
        assert {"what came", "what is right", "difference"} == {f.title for f in one.answers}
        got, want, off = one.answers
        right = one.report["element"]["want"]
        assert written(right) in numbers_in(want.maps[-1].svg)
        assert written(right + 1) in numbers_in(got.maps[-1].svg)
        assert numbers_in(off.maps[-1].svg).count("1") == 1
        assert one.sentence.endswith(f" = {written(right)}")
        assert one.windows is not None
        assert 'class="window w0"' in one.windows.svg
        assert 'class="ring"' in one.windows.svg


def test_the_matrix_links_to_the_findings_and_counts_calls():
    text = certificate_page(certificate())
    page = Reader(text)
    links = [a["href"] for tag, a in page.elements if tag == "a" and "finding" in a["href"]]
    assert {link.removeprefix("#") for link in links} <= page.ids
    assert len({*links}) == len(CALLS)
    assert "20" in page.text
    assert "Not checked 1 function of 1 other operator: not there" in page.text
    assert "6 of 8 pairs of option classes" in page.text
    assert "geometries 4 in a check at most" in page.text
    assert "largest error: 0.750 of its bound" in page.text
    assert "3 deliberately wrong answers were caught, as they should be" in page.text
    made = certificate()
    made.outcomes[-2].planted, made.outcomes[-2].worst_error_over_bound = 1, 0.0
    text = Reader(certificate_page(made)).text
    assert "largest error: 0 of its bound" in text
    assert "1 deliberately wrong answer was caught, as it should be" in text


INSIDE = {"relu": "dtype = float32 (3 of 41 usual layers)"}


def right(examples=300, **changed):
    """Return a certificate of a backend that is right, for some calls only."""
    made = certificate(0, examples=examples, **changed)
    return replace(made, contract={**made.contract, "inside": INSIDE})


@pytest.mark.parametrize(
    ("examples", "pill", "css"),
    [(25, "certified (quick)", "known"), (300, "certified", "ok"), (5000, "certified", "ok")],
)
def test_a_quick_run_is_not_shown_as_a_whole_one(examples, pill, css):
    made = right(examples)
    text = certificate_page(made)
    assert f'<span class="badge {css}">{pill}</span>' in text
    verdict = {25: "CERTIFIED (quick)", 300: "CERTIFIED", 5000: "CERTIFIED (deep)"}[examples]
    assert f"<title>mine: {verdict} for relu: dtype = float32" in text
    both = diff_page(made, made, [])
    assert both.count(f"<b>{verdict} for relu: dtype = float32") == 2
    assert both.count(f'<section class="card verdict {css}">') == 2


def test_the_domain_of_a_wrong_backend_is_on_its_page():
    made = certificate(1)
    made = replace(made, contract={**made.contract, "inside": INSIDE})
    words = "NOT CERTIFIED: 1 mismatch (quick), checked for relu: dtype = float32 (3 of 41 usual"
    assert words in Reader(certificate_page(made)).text


def test_the_page_says_what_the_screen_does_of_what_is_left():
    made = replace(certificate(1), files={"mine.py": ""})
    text = "\n".join(screen.lines(made, Look(10_000)))
    page = Reader(certificate_page(made, repeated=screen.Repeated(["--jobs", "2"]))).text
    _, _, left = text.partition("\nnot checked\n")
    first, *_ = left.partition("\n\n")[0].splitlines()
    assert first.strip() in page
    assert re.search(r"\d+ functions of \d+ other operators: left out by --operators", page)
    ran = "gradoracle certify mine --operators conv2d,relu,tanh --profile quick --seed 1 --jobs 2"
    assert f"Next mend it, then Copy {ran}" in page
    whole = Reader(certificate_page(replace(right(25), files={"mine.py": ""}))).text
    again = "gradoracle certify mine --operators relu,tanh --seed 1"
    assert f"Next the whole check Copy {again}" in whole


@pytest.mark.slow
def test_thirty_mismatches_are_a_page_of_two_mib(capsys):
    made = certificate(30)
    certificate_page(made)  # fills the caches of templates
    start = perf_counter()
    text = certificate_page(made)
    seconds = perf_counter() - start
    with capsys.disabled():
        sys.stdout.write(
            f"\n30 mismatches: {len(text.encode()) / MIB:.2f} MiB in {seconds:.2f} s\n"
        )
    assert text.count("<article") == 30
    assert len(text.encode()) <= 2 * MIB


@pytest.mark.parametrize("change", [
    {"arguments": {"x": {"dtype": "float32", "shape": [10**9], "data": [1]}}},
    {"arguments": {"x": None}},
    {"arguments": {"stride": [0, 0], "padding": "many", "dilation": None}},
    {"compared": None}, {"element": None}, {"formula": "nothing"},
    {"compared": {"shape": [2], "start": [],
                  "got": {"dtype": "object", "shape": [1], "data": ["nan"]},
                  "want": {"dtype": "float32", "shape": [1], "data": [1]},
                  "wrong": {"dtype": "bool", "shape": [1], "data": [True]}}},
])  # fmt: skip
def test_what_fits_no_call_has_no_picture(change):
    made = certificate(1)
    report = made.outcomes[0].mismatch
    report |= {**change, "arguments": {**report["arguments"], **change.get("arguments", {})}}
    assert "<article" in certificate_page(made)


def test_an_element_is_a_number_or_one_that_json_has_none_for():
    made = certificate(1)
    element = made.outcomes[0].mismatch["element"]
    for word in ("nan", "-inf"):
        element["got"] = word
        content_of(made.to_json())
    made = certificate(1)
    content = json.loads(made.to_json())
    content["outcomes"][0]["mismatch"]["element"]["got"] = "x"
    with pytest.raises(Malformed, match=r"element\.got: must be"):
        content_of(json.dumps(content))


@pytest.fixture(scope="module")
def checked():
    """A real certificate: relu's gradient is 1 at 0, and sigmoid's is right."""
    judged = SimpleNamespace(
        contract={"dtypes": ["float32"]}, sigmoid=im2col.sigmoid, relu=im2col.relu,
        relu_grad=lambda g, z: np.where(z >= 0, g, 0).astype(z.dtype),
    )  # fmt: skip
    return gradoracle.check(judged, operators=["relu", "sigmoid"], examples=20, seed=1)


@pytest.mark.slow
def test_a_mismatch_keeps_both_answers(checked):
    content = Certificate.from_json(checked.to_json())
    report = next(o.mismatch for o in content.outcomes if o.status == "mismatch")
    compared, element = report["compared"], report["element"]
    at = tuple(i - s for i, s in zip(element["index"], compared["start"], strict=True))
    arrays = {n: np.array(compared[n]["data"]).reshape(compared[n]["shape"])
              for n in ("got", "want", "wrong")}  # fmt: skip
    assert arrays["got"][at] == element["got"]
    assert arrays["want"][at] == element["want"]
    assert ((arrays["got"] != arrays["want"]) == arrays["wrong"]).all()


@pytest.mark.slow
def test_errors_are_counted_by_dtype_and_tenth(checked):
    (one,) = [o for o in checked.outcomes if o.formula == "sigmoid"
              and o.property_name == "within_rounding_bound"]  # fmt: skip
    counts = one.errors["float32"]
    assert len(counts) == 10
    assert 0 < sum(counts) <= one.judged
    last = max(n for n, count in enumerate(counts) if count)
    assert last == min(int(10 * one.worst_error_over_bound), 9)


@pytest.mark.slow
def test_a_real_certificate_is_a_page(checked, tmp_path):
    file = tmp_path / "c.json"
    file.write_text(checked.to_json())
    result = CliRunner().invoke(app, ["html", str(file), "-o", str(tmp_path / "r.html")])
    assert result.exit_code == 0, result.output
    page = Reader((tmp_path / "r.html").read_text())
    assert "relu_grad fails matches_oracle" in page.text
    assert "gradoracle replay c.json 1" in page.text


# -- other pages ----------------------------------------------------------------------------------


def test_a_difference_shows_what_broke_and_what_is_mended():
    old, new = certificate(3), certificate(2)
    found = {(one.formula, one.kind) for one in changes(old, new)}
    assert found == {("conv2d_grad_weight", "changed")}
    new.outcomes[0].status, new.outcomes[0].calls = "passed", {"float32": {"free": 4}}
    lines = differences(old, new)
    page = Reader(diff_page(old, new, lines))
    assert "Mismatches that are gone" in page.text
    assert "Mismatches that were not there" not in page.text
    assert "Mismatches that were not there" in Reader(diff_page(new, old, lines)).text
    assert "No difference." in Reader(diff_page(old, old, [])).text


def test_two_kinds_of_not_checked_are_no_difference(tmp_path):
    old, new = certificate(0), certificate(0)
    old.outcomes = [one for one in old.outcomes if one.formula != "tanh"]  # not run there
    assert differences(old, new) == changes(old, new) == []
    for name, made in (("old", old), ("new", new)):
        (tmp_path / f"{name}.json").write_text(made.to_json())
    files = [str(tmp_path / name) for name in ("old.json", "new.json", "d.html")]
    done = CliRunner().invoke(app, ["diff", *files[:2], "--html", files[2]])
    left = "left out: 1 check that neither run made, for different reasons"
    assert (done.exit_code, done.output.splitlines()[1:]) == (0, ["no difference", left])
    assert f"No difference. {left}" in Reader(Path(files[2]).read_text()).text
    new.outcomes[-1].status = "passed"
    assert differences(old, new) == ["tanh matches_torch: not run -> passed 0 calls"]
    assert [(one.formula, one.kind) for one in changes(old, new)] == [("tanh", "changed")]


def test_diff_writes_a_page(tmp_path):
    for name, made in (("old", certificate(2)), ("new", certificate(1))):
        (tmp_path / f"{name}.json").write_text(made.to_json())
    target = tmp_path / "diff.html"
    result = CliRunner().invoke(
        app, ["diff", str(tmp_path / "old.json"), str(tmp_path / "new.json"), "--html", str(target)]
    )
    assert result.exit_code == 1, result.output
    assert "what changed" in Reader(target.read_text()).text


def saved(number, ratio):
    times = [
        Timing(formula, "mine", "n", "l", "conv2d", formula, 1, "float32", 9, 9, "", (1.0,),
               (ratio * share,), (1.0,), (1.0,))
        for formula, share in (("conv2d", 1), ("conv2d_grad_input", 2))
    ]  # fmt: skip
    return Saved((Path(f"{number:04}_mine.json"),), f"{number}", f"2026-01-0{number}", "abc", {},
                 tuple(times), {}, 1e9)  # fmt: skip


def test_a_history_has_a_line_for_each_function():
    text = history_page([saved(1, 0.5), saved(2, 2.0)], "mine")
    lines = re.findall(r'<polyline class="line[^>]*points="([^"]*)"', text)
    assert len(lines) == 2
    heights = [[float(point.split(",")[1]) for point in line.split()] for line in lines]
    assert all(first > last for first, last in heights)  # slower is higher
    assert "0.500" in text
    assert "4.000" in text


def run_of(number, *ratios):
    """Return a run of one case that was timed in a process for each ratio."""
    rounds = np.linspace(0.98, 1.02, 20)
    times = [
        Timing("conv2d case", "mine", "n", "l", "conv2d", "conv2d", 1, "float32", 9, 9, "",
               tuple(rounds), tuple(ratio * rounds), tuple(rounds), tuple(np.ones(20)))
        for ratio in ratios
    ]  # fmt: skip
    return Saved((Path(f"{number:04}_mine.json"),), f"{number}", f"2026-01-0{number}", "abc", {},
                 tuple(times), {}, 1e9)  # fmt: skip


def test_a_history_has_bands_from_the_least_to_the_largest_process():
    text = history_page([run_of(1, 0.5, 1.0, 2.0), run_of(2, 0.7, 0.8)], "mine")
    (band,) = re.findall(r'<polygon class="band[^>]*points="([^"]*)"', text)
    (line,) = re.findall(r'<polyline class="line[^>]*points="([^"]*)"', text)
    lows, highs = np.reshape(re.findall(r"[\d.]+", band), (2, 2, 2)).astype(float)
    points = np.reshape(re.findall(r"[\d.]+", line), (2, 2)).astype(float)
    for low, point, high in zip(lows, points, highs[::-1], strict=True):
        assert low[0] == point[0] == high[0]
        assert low[1] > point[1] > high[1]  # slower is higher
    assert lows[0, 1] - highs[1, 1] > 4 * (lows[1, 1] - highs[0, 1])
    assert "conv2d, 0001: 1.000" in text


@pytest.mark.parametrize(
    ("later", "verdict"),
    [((2.0, 2.1, 2.05), "1 slower, 0 faster, 0 the same"), ((1.0, 1.01), "0 slower, 0 faster, 1")],
)
def test_a_history_tells_what_changed_since_the_run_before(later, verdict):
    page = Reader(history_page([run_of(1, 1.0, 1.02, 0.98), run_of(2, *later)], "mine"))
    assert verdict in page.text
    assert ("conv2d case" in page.text) == verdict.startswith("1")


def test_a_history_of_two_machines_compares_nothing():
    other = replace(run_of(2, 2.0, 2.1), machine={"processor": "another"})
    page = Reader(history_page([run_of(1, 1.0, 1.02), other], "mine"))
    assert "Not compared: they are not from the same machine" in page.text
    assert "slower" not in page.text


def test_a_history_of_one_run_compares_nothing():
    assert "Not compared: there is one run only." in Reader(history_page([run_of(1, 1.0)])).text


@pytest.mark.parametrize("name", ["conv2d_grad_input", "max_pool2d_vjp", "softmax", "gelu",
                                  "conv3d", "cross_entropy", "network_backward"])  # fmt: skip
def test_a_formula_has_its_equation_its_loops_and_its_example(name):
    topic = find(name)
    page = Reader(formula_page(topic))
    assert flat(displayed(topic.formula)[0]) in page.text
    assert not page.loaded
    one = example(*topic)
    if one is not None:
        assert one.sentence in page.text
        assert f"{[*one.answer.shape]}, the answer" in page.text


@pytest.mark.slow
def test_every_erratum_is_shown_with_what_it_gets_wrong():
    pages = {name: Reader(formula_page(topics()[name])).text
             for name in {e.formula.__name__ for e in ERRATA}}  # fmt: skip
    for erratum in ERRATA:
        text = pages[erratum.formula.__name__]
        assert flat(f"{erratum.kind} {erratum.name}") in text
        assert flat(erratum.printed) in text
        printed, right = erratum.shown()
        both = isinstance(printed, np.ndarray) and np.shape(printed) == np.shape(right)
        assert "as printed" in text or not (both and np.size(right))


@pytest.mark.slow
def test_the_book_links_to_pages_that_it_has():
    pages = dict(book())
    assert {*pages} == {"index.html", *(f"{name}.html" for name in NAMES)}
    for name, text in pages.items():
        page = Reader(text)
        for link in (a["href"] for tag, a in page.elements if tag == "a"):
            assert link.removeprefix("#") in page.ids or link in pages, (name, link)
    text = Reader(pages["index.html"]).text
    assert all(flat(displayed(topics()[name].formula)[0]) in text for name in NAMES)


def test_explain_writes_one_page_or_all(tmp_path):
    runner = CliRunner()
    file = tmp_path / "one.html"
    assert runner.invoke(app, ["explain", "relu", "--html", str(file)]).exit_code == 0
    assert Reader(file.read_text()).text.count("relu") > 3
    assert runner.invoke(app, ["explain", "relu", "--html", f"{tmp_path}/new/"]).exit_code == 0
    assert (tmp_path / "new" / "relu.html").is_file()
    refused = runner.invoke(app, ["explain", "--html", str(tmp_path / "none.html")])
    assert refused.exit_code == 2
    assert "names no folder" in flat(refused.stderr)


@pytest.mark.slow
def test_without_jinja_a_sentence_names_the_extra(tmp_path, monkeypatch):
    file = tmp_path / "c.json"
    file.write_text(certificate(1).to_json())
    monkeypatch.setitem(sys.modules, "jinja2", None)
    render.environment.cache_clear()
    for arguments in (["html", str(file)], ["explain", "relu", "--html", str(tmp_path / "r.html")],
                      ["certify", "im2col", "--html", str(tmp_path / "r.html")]):  # fmt: skip
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 3, result.output
        assert "pip install 'gradoracle[html]'" in result.stderr
    monkeypatch.undo()
    render.environment.cache_clear()


@pytest.mark.slow
def test_certify_and_pytest_write_the_page(tmp_path):
    kernels = tmp_path / "kernels.py"
    kernels.write_text("def relu(z):\n    return z * (z > 1)\n")
    commands = {
        "certify": ["-m", "gradoracle", "certify", "./kernels.py", "--operators", "relu",
                    "--profile", "quick", "--in-process", "--html"],
        "pytest": ["-m", "pytest", "--pyargs", "gradoracle.conformance", "--backend",
                   "./kernels.py", "-k", "relu-matches_oracle", "--hypothesis-profile", "quick",
                   "--in-process", "-p", "no:cacheprovider", "--certificate-html"],
    }  # fmt: skip
    for name, command in commands.items():
        file = tmp_path / f"{name}.html"
        done = subprocess.run([sys.executable, *command, str(file)], cwd=tmp_path, check=False,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 1, done.stderr
        page = Reader(file.read_text())
        assert "relu fails matches_oracle" in page.text
        assert "what came" in page.text


def test_a_page_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    result = CliRunner().invoke(
        app, ["certify", "im2col", "--html", str(tmp_path / "no" / "r.html")]
    )
    assert result.exit_code == 3
    assert "--html" in result.stderr
    assert not result.stdout


# -- the terminal ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80])
def test_explain_starts_with_an_example_and_fits_a_screen_or_two(width, tmp_path):
    for topic in topics().values():
        with (tmp_path / "out").open("w+") as file:
            show(Console(file=file, width=width, highlight=False, markup=False), topic,
                 everything=False)  # fmt: skip
            file.seek(0)
            lines = file.read().splitlines()
        assert len(lines) <= SCREEN, topic.formula.__name__
        shown = example(*topic) or chain_example(topic.operator)
        assert lines[2] == ("example" if shown else "signature")
        left = flat(" ".join(lines)).partition("--all has also: ")[2]
        assert left or "certify" in lines  # which comes last


def test_the_example_of_a_kernel_is_the_oracles():
    one = example(*topics()["conv2d_grad_input"])
    whole = {n: v.astype(object) if isinstance(v, np.ndarray) else v for n, v in one.call.items()}
    assert (evaluate(conv2d_grad_input, whole) == one.answer).all()
    assert {o.name for o in OPERATORS} >= {"conv2d"}


def test_the_page_of_a_network_has_every_link():
    page = formula_page(topics()["network_backward"])
    _, links = chain_example(topics()["network_backward"].operator)
    for link in links:
        assert f'<h3 class="mono">{link.formula.__name__}</h3>' in page
        assert flat(escape(link.sentence)) in flat(page)


def test_names_may_break_at_underscores_and_loops_have_no_remarks_for_linters():
    page = formula_page(topics()["scaled_dot_product_attention"])
    assert ">scaled_<wbr>dot_<wbr>product_<wbr>attention</h1>" in page
    assert "fmt: skip" not in Reader(page).text


def test_a_difference_names_before_and_after_where_its_table_is_narrow():
    old, new = certificate(0), certificate(2)
    page = diff_page(old, new, differences(old, new), "new.json")
    assert page.count('<span class="which">before </span>') == 2
    assert page.count('<span class="which">after </span>') == 2
