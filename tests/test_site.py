"""The pages of docs become a site that needs nothing from elsewhere."""

import itertools
import re

import fresh
import pytest
from browser import CHROMIUM, Browser, serve

import kbp

pytest.importorskip("mkdocs", reason="needs the extra docs")
pytest.importorskip("mkdocstrings", reason="needs the extra docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    words = ("build", "--strict", "--quiet", "--site-dir", folder)
    file = fresh.ROOT / "docs" / "site" / "mkdocs.yml"
    ended = fresh.command("-m", "mkdocs", *words, "--config-file", file)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder


@pytest.mark.long
def test_every_page_is_built(site):
    docs = fresh.ROOT / "docs"
    for page in docs.rglob("*.md"):
        name = str(page.relative_to(docs).with_suffix(".html"))
        assert (site / name.replace("README", "index")).is_file(), name


def test_pages_load_nothing_from_elsewhere(site):
    loads = (
        r'<(?:script|img|iframe|link)[^>]*(?:src|href)="?(?:https?:)?//[^>]*'
    )
    pages = [*site.rglob("*.html")]
    assert len(pages) > 80
    for page in pages:
        assert not re.findall(loads, page.read_text()), page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?https?:", sheet.read_text()), sheet


def test_every_public_name_is_explained(site):
    folder = site / "reference" / "api"
    for page in folder.glob("*.html"):
        room = getattr(kbp, page.stem, None)
        for name in getattr(room, "__all__", ()):
            # a function may have the name of its module
            heading = rf'id="kbp.{page.stem}.{name}(.{name})?"'
            assert re.search(heading, page.read_text()), heading
    rooms = {page.stem for page in folder.glob("*.html")}
    assert rooms >= {
        x for x in kbp.__all__ if hasattr(getattr(kbp, x), "__all__")
    }


def test_every_command_is_explained(site):
    from kbp.__main__ import COMMANDS

    text = (site / "reference" / "commands.html").read_text()
    for name in COMMANDS:
        assert f"usage: kbp {name}" in text, name


def test_races_show_what_was_tried(site):
    text = (site / "results" / "optimizers.html").read_text()
    plot = text.index("optimizers.svg")
    table = text.index("<table")
    tried = text.index('id="tried-and-left-out"')
    assert plot < table < tried < text.index("cautious mask")


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_pages_fit_a_phone_and_are_searched(site, tmp_path):
    pages = (
        *("index", "get_started", "results/quantization"),
        *("reference/api/layers", "reference/commands"),
    )
    with serve(site) as address:
        page = Browser(tmp_path)
        try:
            for width, name in itertools.product((390, 1280), pages):
                page.size(width, 900)
                there = f"{address}{name}.html"
                page.call("Page.navigate", url=there)
                ready = "document.readyState == 'complete'"
                page.wait(f"location.href == {there!r} && {ready}")
                wide = "document.documentElement.scrollWidth - innerWidth"
                assert page.run(wide) <= 0, (width, name)
            page.call("Page.navigate", url=f"{address}index.html?q=shrink")
            found = "document.querySelector('.md-search-result__list')"
            page.wait(f"{found}?.innerText.includes('shrink')")
            assert {x.split("/")[2] for x in page.requests} <= {
                *("", address.split("/")[2])
            }
            assert not page.console
        finally:
            page.close()
