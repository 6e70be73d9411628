# %% [markdown]
# # A page that classifies in the browser
#
# `kbp deploy --target web` writes a folder with a page and all that it loads:
# the `.tflite` file and LiteRT.js, which runs it. No server computes anything,
# and no pixel leaves the browser. LiteRT.js comes from npm; `KBP_NODE_MODULES`
# names the folder `node_modules` if it is not in the present one:
#
#     npm install @litertjs/core@2.5 @litertjs/wasm-utils@2.5

# %%
import json
import threading
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sklearn.datasets import load_digits

import kbp

name = "pyramid_bpnet_small.digits"
folder = kbp.deploy.deploy(name, "web", Path("app"))
for path in sorted(folder.rglob("*")):
    if path.is_file():
        print(f"{path.stat().st_size / 1e3:9,.0f} kB  {path.name}")

# %% [markdown]
# `model.json` says what goes in and what comes out. The page reads it, so the
# same page serves images, masks, tables and series:

# %%
facts = json.loads((folder / "model.json").read_text())
print(facts["task"], facts["image"], facts["labels"])
print(facts["input"])

# %% [markdown]
# Does the browser compute what LiteRT does on this machine? `verify_runtimes`
# runs the file in a headless Chromium on as many examples as you give, and
# compares each output:

# %%
images = load_digits().images[:200].repeat(4, axis=1).repeat(4, axis=2)
images = (images[..., None] / 16).astype("float32")
(browser,) = kbp.export.verify_runtimes(kbp.zoo.file(name), images, ["web"])
within_one = browser.within_one
print(browser.version)
print(f"{within_one:.1%} of {browser.outputs:,} outputs within one step")

# %% [markdown]
# Any static server will do; this one is Python's own. While it runs, open the
# address that it prints, and draw a digit:


# %%
class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


handler = partial(Quiet, directory=str(folder))
with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    page = urllib.request.urlopen(address).read().decode()  # as a browser does
    server.shutdown()
print(page[page.index("<title") :].partition("\n")[0])
