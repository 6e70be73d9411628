"""From `kbp deploy` to a prediction on the page, in headless Chromium."""

import json
import math
import os
import time
from pathlib import Path

import browser
import deployed
import numpy as np
import pytest
from PIL import Image

from kbp import deploy, export, zoo
from kbp.data.images.photographs import read_photographs
from kbp.errors import UserError

NODE_MODULES = Path(os.environ.get("KBP_NODE_MODULES", "node_modules"))
HAS_RUNTIME = (NODE_MODULES / "@litertjs" / "core").is_dir()
needs_browser = pytest.mark.skipif(
    not (browser.CHROMIUM and HAS_RUNTIME),
    reason="needs chromium, and LiteRT.js in $KBP_NODE_MODULES",
)
DIGITS = "pyramid_bpnet_small.digits"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    opened = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "digits"
    deploy.deploy(DIGITS, "web", folder)
    with browser.serve(folder) as address:
        yield address


def answer(page):
    return page.wait("document.querySelector('.answer')?.textContent")


def wide(page):
    return page.run("document.documentElement.scrollWidth")


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_prediction_is_there_in_three_seconds(page, digits, width):
    page.size(width, 800, dark=width < 500)
    page.requests.clear()
    assert page.open(digits) < 3000
    label = np.load(zoo.file(DIGITS, "golden.npz"))["keras"][0].argmax()
    assert answer(page) == str(label)
    assert page.run("document.querySelector('h1').innerText") == DIGITS
    assert " ms on WASM" in page.run("document.body.innerText")
    assert page.run("document.querySelectorAll('.shares li').length") == 10
    assert wide(page) <= width
    assert page.requests
    assert all(x.startswith(digits) for x in page.requests)


@needs_browser
def test_a_drawn_digit_is_read(page, digits):
    page.size(1280, 800)
    page.open(digits)
    box = "document.querySelector('#draw').getBoundingClientRect()"
    x, y, side = page.run(f"[{box}.x, {box}.y, {box}.width]")
    circle = [2 * math.pi * i / 24 for i in range(25)]
    page.drag(
        [
            (
                x + side * (0.5 + 0.24 * math.sin(a)),
                y + side * (0.5 - 0.38 * math.cos(a)),
            )
            for a in circle
        ]
    )
    page.wait("document.querySelector('.answer')?.textContent === '0'")


@needs_browser
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_images_are_resized_as_in_training(page, digits, tmp_path, resize):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (9, 12, 3), "uint8")
    path = tmp_path / "image.png"
    Image.fromarray(values).resize((50, 41)).save(path)
    page.open(digits)
    numbers = np.asarray(Image.open(path).convert("RGBA")).ravel().tolist()
    found = page.run(
        f"""(async () => {{
        const {{ toInput }} = await import("./images.js");
        const image = new ImageData(
          new Uint8ClampedArray({json.dumps(numbers)}), 50, 41);
        const canvas = new OffscreenCanvas(50, 41);
        canvas.getContext("2d").putImageData(image, 0, 0);
        const facts = {{ image: [20, 16, 3], resize: "{resize}",
          mean: [0], std: [255] }};
        return Array.from(toInput(canvas, facts));
        }})()"""
    )
    right = read_photographs([path], (20, 16), channels=3, resize=resize)
    gap = np.abs(np.array(found) * 255 - right.ravel())
    assert gap.max() <= 1.01  # Pillow rounds weights to integers


@needs_browser
def test_a_photograph_is_read_in_a_moment(page, digits):
    page.open(digits)
    milliseconds, light, dark = page.run(
        """(async () => {
        const { toInput } = await import("./images.js");
        const photo = new OffscreenCanvas(4000, 3000);
        const context = photo.getContext("2d");
        context.fillStyle = "#fff";
        context.fillRect(0, 0, 2000, 3000);
        context.fillStyle = "#000";
        context.fillRect(2000, 0, 2000, 3000);
        const begin = performance.now();
        const values = toInput(photo, { image: [96, 96, 3],
          resize: "crop", mean: [0], std: [255] });
        return [performance.now() - begin, values[0], values.at(-1)];
        })()"""
    )
    assert milliseconds < 1000
    assert (light, dark) == (1, 0)


@needs_browser
def test_webgpu_answers_as_wasm_does(digits, tmp_path):
    opened = browser.Browser(tmp_path, browser.SOFTWARE_GPU)
    try:
        opened.open(digits)
        time.sleep(1)  # until the page knows of the adapter
        choice = "document.querySelector('#accelerator')"
        if opened.run(f"{choice}.options[1].disabled"):
            pytest.skip("Chromium has no WebGPU here")
        shares = "document.querySelector('.shares').innerText"
        status = "document.querySelector('#status').innerText"
        right = opened.run(shares)
        opened.run(f"{choice}.value = 'webgpu'")
        opened.run(f"{choice}.dispatchEvent(new Event('change'))")
        opened.wait(f"{status}.includes('ms on WebGPU')")
        assert opened.run(shares).split()[0] == right.split()[0]
        opened.run(f"{choice}.value = 'wasm'")
        opened.run(f"{choice}.dispatchEvent(new Event('change'))")
        opened.wait(f"{status}.includes('ms on WASM')")
        assert opened.run(shares) == right
    finally:
        opened.close()


@needs_browser
def test_masks_are_shown(page, tmp_path):
    deploy.deploy("pyramid_bpnet_small.dsb2018", "web", tmp_path / "app")
    page.size(390, 800)
    with browser.serve(tmp_path / "app") as address:
        page.open(address)
        text = page.run("document.querySelector('#result').innerText")
        assert "%" in text
        assert page.run("document.querySelector('#result .stage').width") == 256
        assert wide(page) <= 390


@needs_browser
@pytest.mark.parametrize("classes", [("low", "high", 'a "b"'), ()])
def test_rows_of_tables_are_predicted_as_in_litert(page, tmp_path, classes):
    path = deployed.table(tmp_path / "run", classes)
    deploy.deploy(path, "web", tmp_path / "app")
    rows = 'city,mass,count,other\nUlm,1,2,x\n"Kiel, Ost",?,4,y\n'
    inputs = np.array([[1, 3, 2], [2, 2, 4]], "float32")
    right = export.Runner(path).predict(inputs)
    with browser.serve(tmp_path / "app") as address:
        page.open(address)
        page.run(
            f"""(() => {{
            document.querySelector("textarea").value = {json.dumps(rows)};
            document.querySelector("#input button").click();
            }})()"""
        )
        cells = page.wait(
            """(() => {
            const rows = [...document.querySelectorAll("tbody tr")];
            return rows.length === 2 && rows.map((r) => r.cells[1].innerText);
            })()"""
        )
    if classes:
        assert cells == [classes[i] for i in right.argmax(axis=-1)]
    else:
        found = np.array(cells, "float64")
        np.testing.assert_allclose(found, right[:, 0], rtol=1e-4)


@needs_browser
def test_series_are_forecast_and_what_is_wrong_is_said(page, tmp_path):
    path = deployed.series(tmp_path / "run")
    deploy.deploy(path, "web", tmp_path / "app")
    rows = (path.parent / "rows.csv").read_text()
    fill = """((text) => {
        document.querySelector("textarea").value = text;
        document.querySelector("#input button").click();
        })"""
    with browser.serve(tmp_path / "app") as address:
        page.open(address)
        page.run(f"{fill}({json.dumps(rows)})")
        page.wait("document.querySelectorAll('tbody tr').length === 4")
        assert page.run(
            "document.querySelector('thead').innerText"
        ).split() == [
            "step",
            "a",
            "c",
        ]
        page.run(f"{fill}('a,c\\n1,2\\n')")
        said = page.wait("document.querySelector('#status.error')?.textContent")
    assert said == "There are 1 rows; 12 are needed."


def test_without_the_runtime_the_line_names_the_command(tmp_path):
    with pytest.raises(UserError, match=r"npm install @litertjs/core"):
        deploy.deploy(
            DIGITS, "web", tmp_path / "app", node_modules=tmp_path / "none"
        )
    assert not [*tmp_path.iterdir()]
