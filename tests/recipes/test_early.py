"""What is wrong with a recipe shows before TensorFlow is imported."""

import dataclasses

import fresh
import pytest

from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.recipes.sections import COMMON
from kbp.recipes.text import check_early

MAIN = """
import sys
from kbp.__main__ import main
status = main(sys.argv[1:])
assert not {"keras", "tensorflow"} & {*sys.modules}
sys.exit(status)
"""
WRONG = [
    *(f"{name}.epohcs=3" for name in COMMON),
    *("training.epochs=-1", "training.epochs=many", "training.strategy=none"),
    *("quantization.skip=3", "optimizer.learning_rate=0", "training", "a=3"),
    "export.num_threads=[1",
]


@pytest.mark.parametrize("setting", WRONG)
def test_early_error_is_that_of_the_whole_recipe(setting):
    """One message, whichever of the two checks finds it."""
    with pytest.raises(UserError, match=r"training|unknown|must|form") as late:
        Recipe().with_settings([setting])
    with pytest.raises(UserError, match=r"training|unknown|must|form") as early:
        check_early(None, [setting])
    assert str(early.value) == str(late.value)


def test_right_recipes_pass(tmp_path):
    recipe = Recipe()
    file = tmp_path / "right.toml"
    file.write_text(recipe.to_toml())
    settings = [
        f"{name}.{key.name}={getattr(recipe, name).__dict__[key.name]}"
        for name, kind in COMMON.items()
        for key in dataclasses.fields(kind)
        if key.type in (int, float, str)
    ]
    assert len(settings) > 20
    check_early(file, [*settings, "model.width=3", "loss.odd=1"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "training.epohcs=3"], "training.epohcs; did you mean 'epo"),
        (["--strategy", "multi"], "training.strategy: unknown 'multi'"),
        (["wrong.toml"], "wrong.toml: unknown key quantization.epoch; did you"),
        (["nowhere.toml"], "nowhere.toml: cannot be read"),
        (["nobody"], "unknown zoo entry 'nobody'"),
    ],
)
def test_misspelled_key_is_refused_before_tensorflow_is_imported(
    words, message, tmp_path
):
    (tmp_path / "wrong.toml").write_text("[quantization]\nepoch = 3\n")
    done = fresh.command("-c", MAIN, "train", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
