"""LiteRT.js, the files of npm's packages."""

import json
import os
from pathlib import Path

from kbp.errors import UserError

_INSTALL = "npm install @litertjs/core@2.5 @litertjs/wasm-utils@2.5"
# By their places in a page's folder `litert`, those in npm's. Of WebAssembly
# there are files for browsers without relaxed SIMD and for WebGPU, too.
PACKAGES = {
    "core.js": "core/dist/index.js",
    "wasm-utils.js": "wasm-utils/dist/index.js",
    **{
        f"wasm/litert_wasm{kind}_internal{end}": (
            f"core/wasm/litert_wasm{kind}_internal{end}"
        )
        for kind in ("", "_compat", "_jspi")
        for end in (".js", ".wasm")
    },
}


def packages(folder: Path | None = None) -> dict[str, Path]:
    """Return LiteRT.js's files by their places in a page's folder.

    Args:
        folder: npm's `node_modules`, by default $KBP_NODE_MODULES, or that of
            the current folder.

    Raises:
        UserError: they are not there.
    """
    place = _place(folder)
    found = {key: place / path for key, path in PACKAGES.items()}
    for path in found.values():
        if not path.is_file():
            raise UserError(
                f"{path}: no such file. LiteRT.js comes by `{_INSTALL}`; name "
                "its folder node_modules by $KBP_NODE_MODULES (or, to deploy, "
                "by --node-modules)."
            )
    return found


def version(folder: Path | None = None) -> str:
    """Return the version of LiteRT.js.

    Args:
        folder: see `packages`.
    """
    text = (_place(folder) / "core" / "package.json").read_text()
    return str(json.loads(text)["version"])


def _place(folder: Path | None) -> Path:
    named = os.environ.get("KBP_NODE_MODULES", "node_modules")
    return (folder or Path(named)) / "@litertjs"
