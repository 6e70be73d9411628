"""Recipes: read strictly, changed by settings, written and read back."""

import tomllib

import fresh
import pytest

from kbp import sparsity, zoo
from kbp._utils.config import to_toml
from kbp.errors import UserError
from kbp.layers.transforms import dtm
from kbp.recipes import Recipe, sections
from kbp.tasks.classification import (
    ClassificationConfig,
    ImageAugmentationConfig,
)


def test_sections_and_defaults():
    recipe = Recipe.parse(
        {"model": {"width": 16}, "augmentation": {"shift": 0}}
    )
    assert recipe.model.arguments == {"width": 16}
    assert recipe.model.architecture == "pyramid_bpnet"
    augmentation = recipe.task.section(ImageAugmentationConfig)
    assert augmentation.shift == 0.0
    assert isinstance(augmentation.shift, float)
    assert Recipe() == Recipe.parse({})


def test_written_recipe_reads_back(tmp_path):
    recipe = Recipe.parse(
        {
            "model": {"architecture": "bp_transformer", "num_heads": 2},
            "sparsity": {"target": 0.5, "skip": ["a", 'b "quoted"']},
        }
    )
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml())
    assert Recipe.read(path) == recipe


@pytest.mark.parametrize("entry", zoo.entries(), ids=lambda e: e.name)
def test_recipe_of_the_zoo_reads_and_builds(entry):
    model, task = entry.recipe.model, entry.recipe.task
    section = entry.recipe.data.config
    if task.name == "forecasting":
        shape = (section.lookback, 7)
        built = model.build(shape, section.horizon, head="forecasting")
        assert built.output_shape == (None, section.horizon, 7)
    elif "segmentation" in task.name:
        built = model.build((64, 64, 1), 2, head="segmentation")
        assert built.output_shape == (None, 64, 64, 2)
    else:
        layout = task.section(ClassificationConfig).layout
        shape = (32, 32, 1) if layout == "image" else (32, 32)
        assert model.build(shape, 10).output_shape == (None, 10)
    assert (entry.path / "recipe.toml").read_text().startswith("# ")


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("training.epochs=3", "training", "epochs", 3),
        ("optimizer.learning_rate=1e-2", "optimizer", "learning_rate", 0.01),
        ("training.strategy=mirrored", "training", "strategy", "mirrored"),
        ("data.image_size=16", "data", "image_size", 16),
        ('task.layout="rows"', "task", "layout", "rows"),
        ("augmentation.flip=true", "augmentation", "flip", True),
        ('sparsity.skip=["a", "b"]', "sparsity", "skip", ("a", "b")),
    ],
)
def test_setting_changes_one_key(setting, section, key, value):
    recipe = Recipe().with_settings([setting])
    found = {
        **vars(recipe),
        **recipe.task.sections,
        "data": recipe.data.config,
    }
    assert getattr(found[section], key) == value


def test_setting_changes_a_builders_argument():
    recipe = Recipe().with_settings(["model.num_scales=4"])
    assert recipe.model.arguments["num_scales"] == 4


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"trainin": {}}, r"unknown section \[trainin\]; did you mean 'train"),
        ({"training": {"epoch": 3}}, "training.epoch; did you mean 'epochs'"),
        ({"model": {"widht": 3}}, "model.widht; did you mean 'width'"),
        (
            {"model": {"architecture": "pyramid"}},
            "architecture: unknown 'pyramid'; did you mean 'pyramid_bpnet'",
        ),
        ({"model": {"architecture": []}}, "architecture must be of type str"),
        ({"data": {"split_seed": 2**33}}, "split_seed must be at most"),
        ({"training": {"epochs": -1}}, "training.epochs must be at least 0"),
        ({"augmentation": {"zoom": 10**400}}, "zoom must be finite; received"),
        ({1: {}}, r"unknown section \[1\]; known: "),
        ({"training": {1: 2}}, r"unknown key training\.1; known: "),
        ({"model": {1: 2}}, r"unknown key model\.1; known: "),
        ({"training": {"epochs": 2.5}}, "training.epochs must be of type int"),
        ({"training": {"epochs": True}}, "training.epochs must be of type int"),
        ({"training": {"strategy": "tpus"}}, "training.strategy: unknown"),
        ({"data": {"name": "mnist"}}, "data.name: unknown 'mnist'; known: "),
        ({"data": {"name": "etth1", "image_size": 8}}, "key data.image_size"),
        ({"data": {"kind": "images"}}, r"unknown key data\.kind; known: image"),
        ({"task": {"name": "classify"}}, "task.name: unknown 'classify'"),
        ({"task": {"layouts": "rows"}}, "task.layouts; did you mean 'layout'"),
        (
            {"linear_skip": {"penalty": 0.5}},
            r"\[linear_skip\] is for the task forecasting; this recipe's is",
        ),
        ({"loss": {"error": "mae"}}, r"unknown key loss\.error; known: alpha"),
        (
            {"data": {"name": "etth1"}, "augmentation": {}},
            "for the task classification or membrane_segmentation or segm",
        ),
        ({"data": {"test_fraction": 0}}, "test_fraction must be more than 0"),
        ({"data": {"test_fraction": 1}}, "test_fraction must be less than 1"),
        (
            {"optimizer": {"learning_rate": float("nan")}},
            "learning_rate must be more than 0",
        ),
        (
            {"optimizer": {"learning_rate": float("inf")}},
            "learning_rate must be finite",
        ),
        ({"sparsity": {"skip": "a"}}, "sparsity.skip must be a list"),
        ({"sparsity": {"begin": 0.9}}, "begin must be less than sparsity.end"),
        ({"model": {"width": "wide"}}, "model.width must be of type int"),
        ({"training": 3}, "must be a section"),
    ],
)
def test_wrong_recipe_is_named(sections, message):
    with pytest.raises(UserError, match=message) as caught:
        Recipe.parse(sections)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["epochs=3", "training.epochs", "=", "a.b"])
def test_malformed_setting_is_named(setting):
    with pytest.raises(UserError, match=r"form section\.key=value"):
        Recipe().with_settings([setting])


def test_file_errors_name_the_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml: cannot be read"):
        Recipe.read(tmp_path / "none.toml")
    path = tmp_path / "broken.toml"
    path.write_text("[training\nepochs = 3")
    with pytest.raises(UserError, match=r"broken\.toml: not valid TOML"):
        Recipe.read(path)
    path.write_text("[training]\nepochs = -1")
    with pytest.raises(UserError, match=r"broken\.toml: training\.epochs"):
        Recipe.read(path)


def test_settings_may_give_what_a_file_lacks(tmp_path):
    path = tmp_path / "half.toml"
    path.write_text('[federated]\npartition = "dirichlet"\nalpha = 0.3')
    with pytest.raises(UserError, match=r"half\.toml: .*clients is 0"):
        Recipe.read(path)
    whole = Recipe.read(path, ["federated.clients=3"])
    assert whole.federated.clients == 3
    assert whole.federated.alpha == 0.3
    with pytest.raises(UserError, match=r"half\.toml: federated\.alpha must"):
        Recipe.read(path, ["federated.clients=3", "federated.alpha=0"])
    path.write_text("training = 1")
    with pytest.raises(UserError, match=r"half\.toml: \[training\] must be"):
        Recipe.read(path, ["training.epochs=3"])


def test_range_of_a_builder_is_the_users_error():
    recipe = Recipe.parse({"model": {"num_scales": 1}})
    with pytest.raises(UserError, match=r"\[model\] Argument `num_scales`"):
        recipe.model.build((32, 32, 1), 10)


def test_to_toml_is_toml():
    assert set(tomllib.loads(Recipe().to_toml())) == {
        "model",
        "data",
        "task",
        "loss",
        "augmentation",
        "optimizer",
        "sparsity",
        "training",
        "monitor",
        "ensemble",
        "federated",
        "quantization",
        "export",
    }


def test_any_text_is_read_back_from_toml():
    ends = [*range(1, 0x3000), 0xFFFD, 0x10000, 0x1F600, 0x20BB7, 0x10FFFF]
    text = "".join(map(chr, ends))
    for value in (text, [text, "a"], {"key": text}):
        assert tomllib.loads(f"x = {to_toml(value)}") == {"x": value}


def test_recipe_with_any_path_is_read_back(tmp_path):
    file = tmp_path / "recipe.toml"
    data = {"name": "csv_table", "file": "\U00020bb7/\U0001f600.csv"}
    made = Recipe.parse({"data": data | {"target": "\x7f\u2028"}})
    file.write_text(made.to_toml(), encoding="utf-8")
    assert Recipe.read(file) == made


@pytest.mark.parametrize("text", ["a\0", "\udcff", "\ud83d\ude00"])
def test_what_no_file_can_hold_is_refused(text):
    with pytest.raises(UserError, match=r"data\.file must hold no zero byte"):
        Recipe.parse({"data": {"name": "csv_table", "file": text}})


def test_another_data_set_brings_its_own_keys_and_task():
    recipe = Recipe().with_settings(["data.name=etth1", "data.horizon=24"])
    assert recipe.task.name == "forecasting"
    assert vars(recipe.data.config) == {"lookback": 336, "horizon": 24}
    with pytest.raises(UserError, match=r"unknown key data\.image_size"):
        recipe.with_settings(["data.image_size=8"])
    smaller = Recipe().with_settings(["data.image_size=8"])
    with pytest.raises(UserError, match=r"unknown key data\.image_size"):
        smaller.with_settings(["data.name=etth1"])


def test_task_is_the_recipes_before_the_data_sets():
    sections = {"data": {"name": "isbi2012"}}
    assert Recipe.parse(sections).task.name == "membrane_segmentation"
    other = Recipe.parse({**sections, "task": {"name": "segmentation"}})
    assert other.task.name == "segmentation"
    again = other.with_settings(["training.epochs=2"])
    assert again.task == other.task
    with pytest.raises(UserError, match=r"unknown key task\.layout; known: na"):
        other.with_settings(["task.layout=rows"])


def test_choices_are_those_of_the_library():
    assert sections.GRANULARITIES == dtm.GRANULARITIES
    assert sections.BUDGETS == sparsity.BUDGETS
    assert sections.MEASURES == sparsity.MEASURES


def test_common_sections_need_no_keras():
    fresh.python(
        """
import sys
sys.argv[0] = "kbp"  # as the command line imports kbp
import kbp.recipes.sections
assert "keras" not in sys.modules
assert "numpy" not in sys.modules
"""
    )


@pytest.mark.parametrize("text", ["3\nseed=4", "3\n[x]\ny=1"])
def test_setting_of_two_values_is_refused(text):
    with pytest.raises(UserError, match="a setting has one value; received"):
        Recipe().with_settings([f"training.epochs={text}"])
