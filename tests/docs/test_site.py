"""The built site as a reader meets it: on a desktop and on a phone, in light and in dark, without a network.

Build it first by ``python -m sphinx -W --keep-going -b html docs docs/_build/html``, or say where it is by
``DYNAMIC_KD_SITE``.
"""

import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SITE = Path(os.environ.get("DYNAMIC_KD_SITE", DOCS / "_build" / "html"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = {"desktop": 1280, "phone": 390}

WRITTEN = sorted(
    path.relative_to(DOCS).with_suffix("").as_posix()
    for folder in (".", "tutorials", "how-to", "results", "reference", "explanation")
    for path in (DOCS / folder).glob("*.md")
)
GENERATED = [
    "gallery/01_score_maps",
    "genindex",
    "reference/generated/dynamic_kd.losses.DynamicKDLoss",
    "reference/generated/dynamic_kd.metrics.size_invariant_mean_absolute_error",
    "reference/generated/dynamic_kd.metrics.weighted_f_measure",
]

# What is wider than its box and neither scrolls by itself nor is cut off on purpose.
OVERFLOWING = """() => [...document.querySelectorAll(".bd-article, .bd-article *")].filter(each => {
    const style = getComputedStyle(each);
    return each.clientWidth > 0 && each.scrollWidth > each.clientWidth + 1 && style.overflowX === "visible"
        && style.display !== "inline" && !each.closest("mjx-container");
}).map(each => `${each.tagName} ${each.className}: ${each.textContent.trim().slice(0, 60)}`)"""
SHOWN = 'images => images.filter(each => getComputedStyle(each.closest("figure") ?? each).display !== "none")'
BROKEN = f"images => ({SHOWN})(images).filter(each => !(each.complete && each.naturalWidth)).map(each => each.src)"
FORMULAS = """async () => {
    if (!document.querySelector(".math")) return [0, 0, 0];
    await MathJax.startup.promise;
    const count = selector => document.querySelectorAll(selector).length;
    return [count(".math"), count(".math > mjx-container"), count("mjx-merror")];
}"""
BRIGHTNESS = """() => getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3)
    .reduce((sum, each) => sum + Number(each), 0)"""


@pytest.fixture(scope="module")
def address():
    """Serve the site to this machine alone."""
    if not (SITE / "index.html").is_file():
        pytest.skip(f"no built site in {SITE}; build it with python -m sphinx -b html docs docs/_build/html")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install --group docs-test")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("needs Chromium or Chrome on this machine, such as Debian's package chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=WIDTHS)
def page(request, browser, address):
    """Return a page of each width; what it asks of others, or in vain, is in ``page.failures``."""
    opened = browser.new_page(viewport={"width": WIDTHS[request.param], "height": 900})
    opened.failures = []
    opened.on("request", lambda sent: sent.url.startswith((address, "data:")) or opened.failures.append(sent.url))
    opened.on("response", lambda got: got.ok or got.status == 304 or opened.failures.append(f"{got.status} {got.url}"))
    opened.on("pageerror", lambda error: opened.failures.append(str(error)))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", [*WRITTEN, *GENERATED])
def test_every_page_reads_well(page, address, name):
    page.failures.clear()
    page.goto(f"{address}/{name}.html")
    formulas, rendered, errors = page.evaluate(FORMULAS)
    assert (rendered, errors) == (formulas, 0)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_selector(f"html[data-theme={scheme}]", state="attached")
        assert (page.evaluate(BRIGHTNESS) > 384) == (scheme == "light")
        assert page.eval_on_selector_all(".bd-article img", BROKEN) == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(OVERFLOWING) == []
    assert page.failures == []


def test_pictures_and_formulas_are_there(page, address):
    page.goto(f"{address}/index.html")
    assert len(page.query_selector_all(".bd-article img:visible")) == 1
    page.goto(f"{address}/gallery/01_score_maps.html")
    assert page.query_selector(".bd-article img.sphx-glr-single-img:visible")
    page.goto(f"{address}/explanation/method.html")
    assert page.evaluate(FORMULAS)[0] > 10


def test_search_finds_a_metric(page, address):
    page.goto(f"{address}/search.html?q=weighted_f_measure")
    found = page.wait_for_selector("#search-results a[href*='dynamic_kd.metrics.weighted_f_measure.html']")
    found.click()
    assert page.inner_text("h1").startswith("weighted_f_measure")
