"""A page that a headless Chromium opens, and what the page answers."""

import contextlib
import http.server
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from kbp._utils.files import temporary_folder
from kbp.errors import UserError

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
}
_FLAGS = (
    *("--headless=new", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-dev-shm-usage"),
)
_SECONDS = 300


def find_chromium() -> str | None:
    """Return the path of a Chromium, the system's or Playwright's, if any."""
    found = [path for name in _NAMES if (path := shutil.which(name))]
    cache = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    folder = Path(cache or Path.home() / ".cache" / "ms-playwright")
    found += map(str, sorted(folder.glob("chromium-*/chrome-linux*/chrome")))
    return found[0] if found else None


def answer(chromium: str, files: Mapping[str, bytes]) -> bytes:
    """Serve files on loopback, and return what their page answers.

    The page posts its answer to `answer`, or an error in words to `error`.

    Args:
        chromium: path of the browser.
        files: contents by their places; the page is `index.html`.

    Raises:
        UserError: the page had an error, or did not answer.
    """
    answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
    handler = type("Handler", (_Handler,), {"files": files, "answers": answers})
    with (
        temporary_folder() as profile,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # Chromium's sandbox refuses to be root's.
        flags = [*_FLAGS, *["--no-sandbox"] * (os.geteuid() == 0)]
        address = f"http://127.0.0.1:{server.server_port}/index.html"
        process = subprocess.Popen(
            [chromium, *flags, f"--user-data-dir={profile}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # to end all that it starts
        )
        try:
            kind, content = _first(answers, process)
        finally:
            _end(process)
            server.shutdown()
    if kind != "/answer":
        words = " ".join(content.decode(errors="replace").split())
        raise UserError(f"The page in Chromium says: {words}")
    return content


class _Handler(http.server.BaseHTTPRequestHandler):
    files: Mapping[str, bytes]
    answers: "queue.Queue[tuple[str, bytes]]"

    def do_GET(self) -> None:
        """Send a file."""
        content = self.files.get(self.path.lstrip("/"))
        self.send_response(404 if content is None else 200)
        kind = _TYPES.get(Path(self.path).suffix, "application/octet-stream")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def do_POST(self) -> None:
        """Take what the page says."""
        size = int(self.headers["Content-Length"])
        self.answers.put((self.path, self.rfile.read(size)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _first(
    answers: "queue.Queue[tuple[str, bytes]]",
    process: "subprocess.Popen[bytes]",
) -> tuple[str, bytes]:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        try:
            return answers.get(timeout=0.5)
        except queue.Empty:
            if process.poll() is not None:
                raise UserError(
                    f"Chromium ended with status {process.returncode} before "
                    "its page answered."
                ) from None
    raise UserError(f"Chromium's page did not answer in {_SECONDS} seconds.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
