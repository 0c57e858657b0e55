"""The page at `/`: in this process, and as Chromium shows it where it is installed."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from bundles import LABELS, make_bundle, score

from tfft.config import ServeConfig
from tfft.serving.app import make_app
from tfft.serving.bundle import LABELS as LABELS_FILE
from tfft.serving.bundle import open_bundle
from tfft.serving.page import MOST_BARS, make_bars, read_form
from tfft.serving.server import open_service

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Site:
    """The routes, asked without a socket in one event loop, as a server has it."""

    def __init__(self, bundle: Path, **options: Any) -> None:
        app = make_app(open_service(open_bundle(bundle), ServeConfig(**options)))
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://site"
        )
        self._loop = asyncio.Runner()

    def get(self, path: str) -> httpx.Response:
        return self._loop.run(self._client.get(path))

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self._loop.run(self._client.post(path, **body))

    def close(self) -> None:
        self._loop.run(self._client.aclose())
        self._loop.close()


Open = Callable[..., Site]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[Open]:
    sites: dict[str, Site] = {}

    def open_one(name: str, **options: Any) -> Site:
        if name not in sites:
            sites[name] = Site(make_bundle(folder / name, **options), max_body_mib=1.0)
        return sites[name]

    yield open_one
    for each in sites.values():
        each.close()


def type_in(site: Site, **fields: str) -> tuple[int, str]:
    answer = site.post("/", data=fields)
    return answer.status_code, answer.text


def bars(page: str) -> list[tuple[str, str]]:
    """Each bar's name and score, as they are read."""
    found = re.findall(r'class="name">(.*?)</span>\s*<span class="score">(.*?)</span>', page)
    return [(html.unescape(name), number) for name, number in found]


def test_the_page_asks_for_a_text(opened: Open) -> None:
    answer = opened("films").get("/")
    assert answer.status_code == 200
    assert re.findall(r'<textarea id="(\w+)"', answer.text) == ["text"]
    assert bars(answer.text) == []


def test_what_is_typed_is_shown_with_a_bar_for_each_label(opened: Open) -> None:
    text = "a fine film"
    status, page = type_in(opened("films"), text=text)
    second = 100 * score(text)
    assert status == 200
    assert bars(page) == [(LABELS[1], f"{second:.1f} %"), (LABELS[0], f"{100 - second:.1f} %")]
    assert page.count("class=chosen") == 1
    assert f'width="{second:.2f}"' in page
    assert text in page


def test_everything_is_escaped(opened: Open) -> None:
    attack = "</textarea><script>alert(1)</script>\"'&"
    _, page = type_in(opened("films"), text=attack)
    assert "<script>" not in page
    assert "<b>cheap" not in page
    assert html.escape(attack, quote=False).split("<")[0][:12] in page
    assert "good &amp; &lt;b&gt;cheap&lt;/b&gt;" in page


def test_nothing_is_fetched_and_nothing_runs(opened: Open) -> None:
    answer = opened("films").get("/")
    assert not re.search(r"https?://|<script|\bon\w+=|@import|url\(", answer.text)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_pair_has_two_fields(opened: Open) -> None:
    site = opened("pairs", pairs=True)
    assert re.findall(r'<textarea id="(\w+)"', site.get("/").text) == ["text", "text_pair"]
    _, page = type_in(site, text="ab", text_pair="abc")
    assert bars(page)[0][1] == f"{100 * score('ab', 'abc'):.1f} %"


def test_a_regression_shows_its_number(opened: Open) -> None:
    _, page = type_in(opened("scores", kind="regression"), text="a" * 10)
    assert '<p class="value">0.5</p>' in page


def test_a_bundle_of_tokens_says_that_there_is_nothing_to_type(opened: Open) -> None:
    site = opened("tokens", kind="tokens")
    assert "takes tokens, not texts" in site.get("/").text
    assert type_in(site, text="a")[0] == 400


def test_without_labels_json_the_ids_and_the_model_s_answer_stand_in(folder: Path) -> None:
    bundle = make_bundle(folder / "bare")
    (bundle / "1" / LABELS_FILE).unlink()
    site = Site(bundle)
    _, page = type_in(site, text="a")
    site.close()
    assert [name for name, _ in bars(page)] == [LABELS[0], "class 1"]


@pytest.mark.parametrize("fields", [{}, {"text": ""}, {"text": " \n"}, {"other": "a"}])
def test_nothing_typed_is_told_on_the_page(opened: Open, fields: dict[str, str]) -> None:
    status, page = type_in(opened("films"), **fields)
    assert status == 400
    assert "Type a text first." in page


def test_a_form_that_is_too_long_or_none_is_refused(opened: Open) -> None:
    site = opened("films")
    assert type_in(site, text="a" * 2**20)[0] == 413
    for body in (b"\xff", b"text=%FF", b"&".join([b"text=a"] * 9)):
        assert site.post("/", content=body).status_code == 400


def test_a_form_s_text_comes_as_it_was_typed() -> None:
    text = " a + b & c = é\n👍 "
    assert read_form(urlencode({"text": text}).encode()) == {"text": text}
    assert read_form(b"text=a%0D%0Ab") == {"text": "a\nb"}


def test_the_answer_s_label_is_marked_and_more_labels_than_fit_are_counted(opened: Open) -> None:
    scores = np.linspace(0.0, 1.0, MOST_BARS + 5, dtype=np.float32)
    names = tuple(f"label {number}" for number in range(len(scores)))
    made = make_bars(scores, b"label 3", names)
    assert [bar.name for bar in made[:2]] == ["label 24", "label 23"]
    assert [bar.name for bar in made if bar.is_chosen] == ["label 3"]
    assert make_bars(np.zeros(0, np.float32), None, ()) == ()


def test_every_label_that_a_multi_label_model_gives_is_marked() -> None:
    scores = np.array([0.9, 0.2, 0.8], np.float32)
    names = ("arts", "politics", "[sports]")
    made = make_bars(scores, json.dumps(["arts", "[sports]"]).encode(), names)
    assert [bar.name for bar in made if bar.is_chosen] == ["arts", "[sports]"]
    assert [bar.is_chosen for bar in make_bars(scores, b"[]", names)] == [False] * 3
    assert [bar.is_chosen for bar in make_bars(scores, b"[sports]", names)] == [False, True, False]


# What only the test puts into the page: it tells the boxes as the browser has laid them out.
PROBE = """<script>
const box = each => each.getBoundingClientRect();
const root = document.documentElement;
parent.postMessage(JSON.stringify({
  bars: [...document.querySelectorAll('svg')].map(
    svg => [box(svg).width, box(svg).height, box(svg.querySelector('rect')).width]),
  names: [...document.querySelectorAll('.name')].map(each => each.innerText),
  typed: document.querySelector('textarea').value,
  beyond: root.scrollWidth - root.clientWidth,
}), '*');
</script></body>"""
FRAME = """<!doctype html><pre>nothing</pre><script>
onmessage = told => { document.querySelector('pre').textContent = told.data; };
</script><iframe src="page.html" style="border: 0; width: WIDTHpx; height: 900px"></iframe>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [360, 1200])
def test_chromium_shows_the_bars_and_fits_the_screen(
    opened: Open, tmp_path: Path, width: int
) -> None:
    text = "\n<a fine film> " + "w" * 300
    _, page = type_in(opened("films"), text=text)
    (tmp_path / "page.html").write_text(page.replace("</body>", PROBE))
    (tmp_path / "frame.html").write_text(FRAME.replace("WIDTH", str(width)))
    seen = seen_by_chromium(tmp_path / "frame.html", tmp_path / "profile")
    assert seen["typed"] == text
    assert seen["names"] == [LABELS[1], LABELS[0]]
    assert seen["beyond"] == 0, "the page is wider than the screen"
    parts = [bar / whole for whole, _, bar in seen["bars"]]
    second = score(text)
    assert parts == pytest.approx([second, 1 - second], abs=0.01)  # a pixel of a narrow screen
    least = min(width, 640) / 2  # the page is as wide as the screen, 40 rem at most
    assert all(whole > least and height > 4 for whole, height, _ in seen["bars"])


def seen_by_chromium(path: Path, profile: Path) -> Any:
    """What the page's `pre` holds in the end."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", f"--user-data-dir={profile}", "--window-size=1300,900"),
            *("--virtual-time-budget=5000", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, flags=re.DOTALL)
    assert found, done.stdout[-500:]
    return json.loads(html.unescape(found[1]))
