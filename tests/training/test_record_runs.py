"""Runs on packed examples: those of memory, also after damage was mended."""

import io
from dataclasses import replace

import numpy as np
import pytest
import quick
from rich.console import Console

from kbp import training, zoo
from kbp.data.datasets import digits
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.training.checkpoint import load

pytest.importorskip("array_record", reason="needs kbp[records]")

from kbp.data import records
from kbp.data.records.array_record import Reader

CONSOLE = Console(file=io.StringIO(), width=120)
SETTINGS = [x for x in quick.SETTINGS if not x.startswith("data.")]
FILES = ("model.keras", "model_quantized.keras")


@pytest.fixture
def packed(tmp_path):
    splits = digits.load(image_size=8)
    records.pack(replace(splits, remarks=()), tmp_path / "p", shards=2)
    return tmp_path / "p"


def recipe_of(**data):
    sections = zoo.find(zoo.DEFAULT).recipe.to_dict() | {"data": data}
    return Recipe.parse(sections).with_settings(SETTINGS)


@pytest.mark.slow
def test_damage_is_named_and_the_run_resumed_once_it_is_mended(
    packed, tmp_path
):
    recipe = recipe_of(name="records", folder=str(packed))
    shard = packed / "train-00001-of-00002.array_record"
    whole = shard.read_bytes()
    (record,) = Reader(shard).read([17])
    content = bytearray(whole)
    content[whole.index(record) + len(record) // 2] ^= 1
    shard.write_bytes(content)
    folder = tmp_path / "run"
    with pytest.raises(UserError, match="record 17 is damaged") as caught:
        training.run(recipe, folder, console=CONSOLE)
    said = str(caught.value)
    assert said.startswith(f"{shard}: record 17 is damaged.")
    assert "`resume=True`" in said
    assert "\n" not in said
    shard.write_bytes(whole)
    training.run(recipe, folder, resume=True, console=CONSOLE)
    held = recipe_of(name="digits", image_size=8)
    training.run(held, tmp_path / "held", console=CONSOLE)
    for name in FILES:  # .tflite files say what they learned from
        one, other = (
            load(x / name).get_weights() for x in (folder, tmp_path / "held")
        )
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    report = (folder / "report.html").read_text()
    assert "waited for data" in report
