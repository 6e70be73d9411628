"""The benchmark of memory, on few images."""

import numpy as np
import pytest
from PIL import Image

from kbp.benchmarks.input_memory import cases


def test_images_are_different_ones_of_each_class(tmp_path):
    cases.write(tmp_path, 250)
    files = sorted(tmp_path.rglob("*.png"))
    assert len(files) == 250
    assert len([*tmp_path.iterdir()]) == 10
    images = {np.asarray(Image.open(path)).tobytes() for path in files}
    assert len(images) == 250
    with Image.open(files[0]) as image:
        assert (image.size, image.mode) == ((64, 64), "RGB")


@pytest.mark.slow
@pytest.mark.parametrize("mode", cases.CASES.values())
def test_a_run_is_measured(mode):
    found = cases.measure(mode, 1, count=1500)
    assert found["images"] == 1500
    assert 2e8 < found["memory"] < 1.5e9
    assert found["first"] > 0 < found["again"]
    line = {"case": "a", **found, "machine": {}, "versions": {}, "commit": ""}
    assert "GB" in "".join(cases._cells(line))
