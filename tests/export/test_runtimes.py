"""What other runtimes need of a .tflite file, and how they are run."""

import importlib.util

import numpy as np
import pytest

from kbp import zoo
from kbp.errors import UserError
from kbp.export import Runner
from kbp.export.runtimes import (
    RUNTIMES,
    arena_size,
    browser,
    litertjs,
    micro,
)

CHROMIUM = browser.find_chromium()
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


def test_an_arena_is_the_smallest_that_the_file_runs_in():
    pytest.importorskip("tflite_micro", reason="needs kbp[micro]")
    path = zoo.file(zoo.DEFAULT)
    content, size = path.read_bytes(), arena_size(path)
    assert micro.run(content, [[]], size).used <= size
    with pytest.raises(UserError, match="does not run the file"):
        micro.run(content, [[]], size - 16)


def test_without_tflite_micro_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'kbp\[micro\]'"):
        arena_size(zoo.file(zoo.DEFAULT))


@pytest.mark.parametrize("name", [*RUNTIMES])
def test_each_runtime_runs_several_calls_in_the_files_types(name):
    runtime = RUNTIMES[name]
    if reason := runtime.missing():
        pytest.skip(reason)
    path = zoo.file(zoo.DEFAULT)
    runner = Runner(path)
    x = np.random.default_rng(0).random((3, 32, 32, 1), "float32")
    calls = [*runner.calls(x)]
    found = runtime.run(path.read_bytes(), calls)
    right = runner.predict_raw(x)
    assert [len(outputs) for outputs in found] == [1, 1, 1]
    outputs = np.concatenate([outputs[0] for outputs in found])
    assert outputs.dtype == right.dtype
    assert np.abs(outputs.astype(int) - right.astype(int)).max() <= 1
    assert np.ptp(right.astype(int)) > 50
    assert any(digit in runtime.version for digit in "0123456789")


PAGE = "<script>{}</script>"
ANSWER = "fetch('answer', {method: 'POST', body: 'it works'})"
WRONG = "fetch('error', {method: 'POST', body: 'it is\\nbroken'})"


@needs_chromium
def test_chromium_gives_what_its_page_answers():
    files = {"index.html": PAGE.format(ANSWER).encode()}
    assert browser.answer(CHROMIUM, files) == b"it works"


@needs_chromium
def test_errors_of_the_page_are_one_line():
    files = {"index.html": PAGE.format(WRONG).encode()}
    with pytest.raises(UserError, match="Chromium says: it is broken"):
        browser.answer(CHROMIUM, files)


@needs_chromium
def test_a_page_that_never_answers_is_left(monkeypatch):
    monkeypatch.setattr(browser, "_SECONDS", 1)
    with pytest.raises(UserError, match="did not answer in 1 seconds"):
        browser.answer(CHROMIUM, {"index.html": b""})


def test_a_browser_that_ends_is_no_endless_wait(tmp_path):
    file = tmp_path / "chromium"
    file.write_text("#!/bin/sh\nexit 3\n")
    file.chmod(0o755)
    with pytest.raises(UserError, match="ended with status 3"):
        browser.answer(str(file), {})


def test_playwrights_chromium_is_found_where_the_system_has_none(
    tmp_path, monkeypatch
):
    path = tmp_path / "chromium-1200" / "chrome-linux" / "chrome"
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    assert browser.find_chromium() == str(path)
    path.unlink()
    assert browser.find_chromium() is None
    assert "apt-get install chromium" in RUNTIMES["web"].missing()


def test_without_litert_js_the_line_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "find_chromium", lambda: "chromium")
    monkeypatch.setenv("KBP_NODE_MODULES", str(tmp_path))
    assert "npm install @litertjs/core" in RUNTIMES["web"].missing()
    with pytest.raises(UserError, match=str(tmp_path)):
        litertjs.packages()
