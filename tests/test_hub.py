"""Entries of the zoo that lie elsewhere."""

import hashlib
import http.server
import json
import shutil
import sys
import threading

import numpy as np
import pytest

from kbp import hub, zoo
from kbp.__main__ import main
from kbp.errors import UserError

NAME, COMMIT = "pyramid_bpnet_tiny.digits", "1" * 40
MINE = "hf://me/mine"


class Hub(http.server.BaseHTTPRequestHandler):
    """What huggingface_hub asks for, of one repository."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        path, headers, content = self.path.partition("?")[0], {}, b""
        file = path.partition(f"/me/mine/resolve/{COMMIT}/")[2]
        described = [
            {
                "type": "file",
                "path": name,
                "rfilename": name,
                "size": len(held),
                "oid": hashlib.sha1(held).hexdigest(),
            }
            for name, held in self.files.items()
        ]
        if path in (
            "/api/models/me/mine/revision/main",
            f"/api/models/me/mine/revision/{COMMIT}",
        ):
            known = {"id": "me/mine", "sha": COMMIT, "siblings": described}
            content = json.dumps(known).encode()
        elif path == f"/api/models/me/mine/tree/{COMMIT}":
            content = json.dumps(described).encode()
        elif file in self.files:
            content = self.files[file]
            headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
            headers["X-Repo-Commit"] = COMMIT
        else:
            headers["X-Error-Code"] = "RepoNotFound"
        self.send_response(200 if content else 404)
        headers["Content-Length"] = str(len(content))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve an entry on loopback, and return its files, which may change."""
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    folder = zoo.find(NAME).path
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    kind = type("Mine", (Hub,), {"files": files})
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{made.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    hub.fetch.cache_clear()
    yield files
    made.shutdown()
    made.server_close()
    hub.fetch.cache_clear()


def test_an_entry_of_the_hub_is_one_of_the_zoo(server, capsys):
    found = zoo.load(MINE)
    x = np.random.default_rng(0).random((4, *found.input_shape[1:]), "float32")
    np.testing.assert_array_equal(
        found.predict(x, verbose=0), zoo.load(NAME).predict(x, verbose=0)
    )
    zoo.verify(f"{MINE}@{COMMIT}")
    assert main(["audit", MINE]) == 0
    assert "0 of them float" in capsys.readouterr().out
    held = {path.name for path in zoo.find(MINE).path.iterdir()}
    assert held == {"recipe.toml", zoo.SUMS, zoo.LABELS, *zoo.FILES}


def test_what_was_downloaded_is_there_without_a_network(server, monkeypatch):
    path = zoo.file(MINE)
    hub.fetch.cache_clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert zoo.file(MINE) == path


def test_files_that_are_not_those_of_the_manifest_are_refused(server):
    content = bytearray(server[zoo.INT8])
    content[len(content) // 2] ^= 1
    server[zoo.INT8] = bytes(content)
    with pytest.raises(UserError, match="is not the file that was published"):
        zoo.file(MINE)


@pytest.mark.parametrize("name", ["recipe.toml", zoo.SUMS])
def test_a_repository_that_is_no_entry_is_named(server, name):
    del server[name]
    with pytest.raises(UserError, match=f"{MINE}: holds no {name}"):
        zoo.find(MINE)


def test_files_that_are_too_large_are_not_downloaded(
    server, monkeypatch, tmp_path
):
    monkeypatch.setattr(zoo, "MOST_ELSEWHERE", 10_000)
    with pytest.raises(UserError, match=r"has \d+ bytes, more than 10000"):
        zoo.find(MINE)
    assert not [*tmp_path.rglob("blobs/*")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf://mine", "must be hf://USER/REPOSITORY"),
        ("hf://me/mine/more", "must be hf://USER/REPOSITORY"),
        ("hf://me/other", "hf://me/other: .*Not Found"),
        ("hf://me/mine@nothing", "hf://me/mine@nothing: .*Not Found"),
    ],
)
def test_wrong_names_are_one_line(server, capsys, name, words):
    with pytest.raises(UserError, match=words) as error:
        zoo.find(name)
    assert "\n" not in str(error.value)
    assert main(["evaluate", name]) == 2
    assert words.split(":")[0] in capsys.readouterr().err


def test_the_package_that_is_needed_is_named(monkeypatch):
    hub.fetch.cache_clear()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'kbp\[hub\]'"):
        zoo.find(MINE)


def test_other_folders_hold_more_entries(tmp_path, monkeypatch, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    shutil.copytree(zoo.find(NAME).path, one / "mine.digits")
    shutil.copytree(zoo.find(NAME).path, two / NAME)
    monkeypatch.setenv("KBP_ZOO", f"{one}:{two}")
    assert zoo.find("mine.digits").path == one / "mine.digits"
    assert zoo.find(NAME).path.parent == zoo.root()
    zoo.verify("mine.digits")
    assert main(["list"]) == 0
    assert "mine.digits" in capsys.readouterr().out
    monkeypatch.setenv("KBP_ZOO", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"\$KBP_ZOO names .*none, which is no"):
        zoo.entries()
