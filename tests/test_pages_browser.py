"""Pages in a real browser: what is drawn is what the oracle computes, and every control works."""

import json
import os
import random
import shutil
from itertools import product

import numpy as np
import pytest

from gradoracle.conformance.pages.book import book
from gradoracle.conformance.pages.certificate_page import certificate_page
from gradoracle.conformance.pages.diff_page import diff_page
from gradoracle.conformance.pages.formula_page import formula_page
from gradoracle.conformance.pages.live import live
from gradoracle.conformance.reports.explain import topics
from gradoracle.conformance.reports.traced import terms_of, traced
from gradoracle.conformance.runs.command import differences
from gradoracle.oracle.declaration import argument_names, evaluate
from gradoracle.oracle.expected.truth import truth
from tests.paged import certificate

pytestmark = pytest.mark.slow

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
WINDOWED = sorted(
    n for n, topic in topics().items() if (live(topic) or {}).get("kind") == "windows"
)
WIDTHS = (360, 768, 1280, 1920)
SET = """([name, value]) => {
  const input = document.getElementById(`control-${name}`);
  if (input.type === "checkbox") { input.checked = value; } else { input.value = value; }
  input.dispatchEvent(new Event(input.type === "checkbox" ? "change" : "input"));
}"""
TAKEN = """() => [...document.querySelectorAll(".cell.taken")]
  .map((cell) => [cell.dataset.array, cell.dataset.at.split(",").map(Number)])"""


@pytest.fixture(scope="module")
def browser():
    """Chromium; without one its tests are skipped, and fail where GRADORACLE_BROWSER is set."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install 'gradoracle[browser]'"
    )
    if not CHROMIUM:
        missing = "these tests need a browser: install chromium (apt-get install chromium)"
        if os.environ.get("GRADORACLE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Tab:
    """A page in a tab, and what it said on the console or asked the network for."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, **options}
        )
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def show(self, file, text):
        """Open a text as a file and return the page."""
        file.write_text(text, encoding="utf-8")
        self.asked.clear()
        self.page.goto(file.as_uri())
        assert self.asked == [file.as_uri()]
        return self.page


@pytest.fixture
def tab(browser):
    one = Tab(browser)
    yield one
    assert not one.said
    one.context.close()


def widest(page):
    """Return by how much the page is wider than the window, in pixels."""
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


# -- live pictures --------------------------------------------------------------------------------


def settings(spec, seed):
    """Return the controls as they are first, and drawn from a seed."""
    draw = random.Random(seed)  # noqa: S311 - of settings
    first = {c["name"]: c["start"] for c in spec["controls"]}
    drawn = {
        c["name"]: draw.randint(c["least"], c["most"]) if "least" in c else draw.random() < 0.5
        for c in spec["controls"]
    }
    return first if seed == 0 else drawn


def call_of(shown, formula, dtype=object):
    """Return what a page shows as a call of a formula, in exact integers."""
    arrays = argument_names(formula)[0]

    def read(name, value):
        if name in arrays and value is not None:
            return np.array(value, np.int64 if name == "indices" else dtype)
        return tuple(value) if isinstance(value, list) else value

    return {name: read(name, value) for name, value in shown.items()}


def plain(text):
    """Return a number as Python writes it."""
    return float(text.replace("\N{MINUS SIGN}", "-"))


@pytest.mark.parametrize("name", WINDOWED)
def test_live_numbers_are_the_oracles(tab, tmp_path, name):
    topic = topics()[name]
    formula, spec = topic.formula, live(topic)
    page, legal = tab.show(tmp_path / f"{name}.html", formula_page(topic)), 0
    for seed in range(12):
        for one in settings(spec, seed).items():
            page.evaluate(SET, one)
        shown = page.evaluate("gradoracle.called()")
        call = {"bias": None, **shown["call"]}
        if "answer" not in shown:
            blank = {n: np.zeros((1, 1, *[1] * spec["rank"])) for n in argument_names(formula)[0]}
            blank["x"] = np.zeros(call["input_shape"])
            if "weight_shape" in call:
                blank["weight"] = np.zeros(call["weight_shape"])
            with pytest.raises(ValueError, match=r"."):
                evaluate(topic.operator.formula, call_of({**call, **blank, "bias": None}, formula))
            assert "There is no such call" in page.inner_text("#live-sum")
            continue
        legal += 1
        call = call_of(call, formula, object if spec["operator"] != "avg_pool" else float)
        if spec["operator"] == "avg_pool":
            want = truth(formula, call).as_float(np.dtype(np.float64))
        else:
            want = evaluate(formula, call)
        assert np.array_equal(np.array(shown["answer"], float), want.astype(float)), (seed, call)
    assert legal >= 3


@pytest.mark.parametrize("name", [
    "conv2d", "conv2d_grad_input", "conv2d_grad_weight", "conv_transpose2d", "conv1d_grad_input",
    "conv_transpose1d_grad_weight", "avg_pool2d", "avg_pool2d_grad_input", "max_pool2d_vjp",
])  # fmt: skip
def test_a_click_shows_what_meets_there(tab, tmp_path, name):
    topic = topics()[name]
    page = tab.show(tmp_path / f"{name}.html", formula_page(topic))
    if "groups" in {c["name"] for c in live(topic)["controls"]}:
        page.evaluate(SET, ["groups", 2])
    shown = page.evaluate("gradoracle.called()")
    call = call_of({"bias": None, **shown["call"]}, topic.formula, float)
    found = traced(topic.formula, call)
    answer = live(topic)["names"]["answer"]
    for place in [*np.ndindex(found.shape)][:: max(1, found.size // 5)]:
        at = place if len(place) == 4 else (*place[:2], 0, place[2])
        page.click(f'[data-array="{answer}"][data-at="{",".join(map(str, at))}"]')
        want = {
            (f.name, f.place if len(f.place) == 4 else (*f.place[:2], 0, f.place[2]))
            for term in terms_of(found[place]) for f in term.factors
        }  # fmt: skip
        taken = {(array, tuple(where)) for array, where in page.evaluate(TAKEN)}
        assert {one for one in taken if one[0] != "x" or not name.startswith("max")} == want
        total = page.inner_text("#live-sum").rpartition(" = ")[2]
        assert plain(total.split(":")[0]) == pytest.approx(float(np.array(shown["answer"])[place]),
                                                           rel=1e-3)  # fmt: skip


@pytest.mark.parametrize("name", ["softmax", "softmax_grad"])
def test_live_softmax_is_within_its_bound(tab, tmp_path, name):
    topic = topics()[name]
    page = tab.show(tmp_path / f"{name}.html", formula_page(topic))
    for values in product((-4, 0.25, 3), repeat=2):
        for slider, value in zip(("z1", "z3"), values, strict=True):
            page.evaluate(SET, [slider, value])
        shown = page.evaluate("gradoracle.called()")
        call = {
            n: np.array(v, float) if isinstance(v, list) else v for n, v in shown["call"].items()
        }
        got = np.array(shown["answer"])
        assert (truth(topic.formula, call).error_over_bound(got, "float64") <= 1).all()
        texts = page.locator(f'[data-array="{"p" if name == "softmax" else "dz"}"] text')
        assert [plain(one) for one in texts.all_text_contents()] == pytest.approx(got, rel=1e-3)


def test_keys_reach_and_move_everything(tab, tmp_path):
    page = tab.show(tmp_path / "p.html", formula_page(topics()["conv2d_grad_input"]))
    page.locator("#control-stride").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("gradoracle.called().call.stride") == [1, 1]
    chosen = "document.activeElement.dataset.at"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset?.array") == "dx":
            break
    at = [int(i) for i in page.evaluate(chosen).split(",")]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    moved = [int(i) for i in page.evaluate(chosen).split(",")]
    assert moved == [*at[:2], at[2] + 1, at[3] + 1]
    assert page.inner_text("#live-sum").startswith(f"dx[{', '.join(map(str, moved))}]")
    assert page.locator(".cell.chosen").get_attribute("aria-label").startswith("dx [")


def test_an_operand_shows_where_it_goes(tab, tmp_path):
    page = tab.show(tmp_path / "p.html", formula_page(topics()["conv2d_grad_input"]))
    shown = page.evaluate("gradoracle.called()")
    topic = topics()["conv2d_grad_input"]
    found = traced(topic.formula, call_of(shown["call"], topic.formula, float))
    page.click('[data-array="weight"][data-at="0,0,1,0"]')
    want = {
        at for at in np.ndindex(found.shape)
        for term in terms_of(found[at]) for f in term.factors
        if (f.name, f.place) == ("weight", (0, 0, 1, 0))
    }  # fmt: skip
    assert {tuple(at) for array, at in page.evaluate(TAKEN) if array == "dx"} == want


# -- every page -----------------------------------------------------------------------------------


FORMULAS = ("index", "conv2d_grad_input", "softmax_grad", "gelu", "conv3d", "network_backward")


@pytest.fixture(scope="module")
def pages():
    """A page of every kind."""
    old, new = certificate(3), certificate(30)
    whole = dict(book())
    return {
        "certificate": certificate_page(new), "diff": diff_page(old, new, differences(old, new)),
        **{name: whole[f"{name}.html"] for name in FORMULAS},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["certificate", "diff", *FORMULAS])
def test_no_page_is_wider_than_its_window_and_all_is_labelled(browser, pages, tmp_path, name):
    for width, scheme in zip(WIDTHS, ("light", "dark", "light", "dark"), strict=True):
        tab = Tab(browser, viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = tab.show(tmp_path / f"{name}.html", pages[name])
        assert widest(page) <= 0, (width, scheme)
        unlabelled = page.evaluate(
            "[...document.querySelectorAll('svg, button, input, [role=region], [tabindex=\"0\"]')]"
            ".filter((e) => !e.getAttribute('aria-label') && !e.labels?.length).length"
        )
        assert unlabelled == 0
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, colour[4:-1].split(","))) < 60) == (scheme == "dark")
        assert not tab.said
        tab.context.close()


def test_the_button_copies_the_script(browser, tmp_path):
    tab = Tab(browser, permissions=["clipboard-read", "clipboard-write"])
    script = "import numpy as np\n\nassert np.pi > 3, '<&>'\n"
    made = certificate(1)
    made.outcomes[0].mismatch["script"] = script
    page = tab.show(tmp_path / "c.html", certificate_page(made))
    page.click("details[open] button.copy")
    page.locator("details[open] button.copy[data-done=Copied]").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == script.rstrip()
    assert not tab.said
    tab.context.close()


def test_pictures_show_the_arrays(tab, tmp_path):
    made = certificate(1)
    page = tab.show(tmp_path / "c.html", certificate_page(made))
    report = made.outcomes[0].mismatch
    array = np.reshape(report["compared"]["got"]["data"], report["compared"]["got"]["shape"])
    figure = page.locator("figure", has_text="what came")
    texts = figure.locator("svg").last.locator("text:not(.at)").all_text_contents()
    shown = [*map(float, texts)]
    assert shown == array[-1, -1].ravel().tolist()
    assert figure.locator("path.wrong").count() == 1


def test_a_certificate_is_readable_without_javascript_and_in_print(browser, tmp_path):
    tab = Tab(browser, java_script_enabled=False)
    page = tab.show(tmp_path / "c.html", certificate_page(certificate(2)))
    text = page.inner_text("main")
    assert "NOT CERTIFIED: 2 mismatches" in text
    assert "print('wrong')" in text
    assert page.locator("button.copy:visible").count() == 0
    page.emulate_media(media="print")
    assert page.locator("svg.map:visible").count() > 5
    assert page.pdf()[:4] == b"%PDF"
    tab.context.close()


def test_the_data_of_a_page_is_json():
    text = formula_page(topics()["conv2d"])
    data = text.partition('id="live-data">')[2].partition("</script>")[0]
    assert json.loads(data)["operator"] == "conv"
