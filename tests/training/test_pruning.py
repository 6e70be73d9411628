"""What leaves a trained network before its channels do, in runs."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import kbp
from kbp import sparsity
from kbp.errors import Terminated, UserError
from kbp.recipes import Recipe
from kbp.training import run
from tests.small import stop_in

RNG = np.random.default_rng(0)
X = RNG.normal(size=(640, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 2)).astype("float32")).argmax(axis=1)
SECTION = {
    "target": 0.6,
    "granularity": "channel",
    "measure": "multiply_adds",
    "budget": "knapsack",
    "scores": "taylor",
    "branches": 0.3,
    "multiple_of": 2,
}


@pytest.fixture(scope="module")
def trained():
    """Return a network of four branches, one of which does nothing."""
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((6,))
    x = layers.Dense(8, "relu", name="stem")(x)
    for number in range(4):
        hidden = layers.Dense(16, "relu", name=f"up_{number}")(x)
        branch = layers.Dense(8, name=f"down_{number}")
        x = layers.Add()([x, branch(hidden)])
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kbp.HybridOptimizer(1e-2), loss, metrics=["accuracy"])
    model.fit(X, Y, epochs=4, verbose=0)
    down = model.get_layer("down_2")
    down.set_weights([np.zeros((16, 8)), np.zeros(8)])
    return model


def cost(model):
    flat = kbp.graph.flatten(model)
    return sum(map(sparsity.multiply_adds, kbp.graph.nodes(flat)))


def compress(model, folder, **section):
    return kbp.compress(
        model,
        (X, Y),
        sparsity=SECTION | section,
        epochs=3,
        quantization_epochs=0,
        workdir=folder,
        console=Console(file=io.StringIO()),
    )


def test_branches_leave_first_and_channels_make_up_the_rest(trained, tmp_path):
    result = compress(trained, tmp_path / "run")
    left = {layer.name for layer in result.model.layers}
    assert "up_2" not in left
    gone = [n for n in range(4) if f"up_{n}" not in left]
    branch = 2 * 8 * 16
    # Not more than the share asks for, and the last one was needed.
    assert (len(gone) - 1) * branch < 0.3 * cost(trained)
    assert len(gone) * branch >= 0.3 * cost(trained)
    # A multiple of two channels is as near as it comes.
    assert 0.25 * cost(trained) < cost(result.model) <= 0.4 * cost(trained)
    (whole,) = (x for x in result.stages if "all channels" in x.name)
    # But for the bias that is zero.
    assert whole.parameters == trained.count_params() - 8
    assert result.stages[-1].score > 0.8


@pytest.mark.parametrize("scores", ["magnitude", "taylor"])
def test_scores_of_the_loss_decide_which_channels_stay(
    trained, tmp_path, scores
):
    """A channel of large weights that nothing reads is worth nothing."""
    model = keras.models.clone_model(trained)
    model.set_weights(trained.get_weights())
    model.compile("sgd", trained.loss, metrics=["accuracy"])
    up, down = model.get_layer("up_0"), model.get_layer("down_0")
    kernel, read = up.get_weights()[0], down.get_weights()[0]
    kernel[:, 5] *= 30.0
    read[5] /= 1e6
    up.set_weights([kernel, up.get_weights()[1]])
    down.set_weights([read, down.get_weights()[1]])
    section = {"scores": scores, "branches": 0.0, "target": 0.3}
    result = compress(model, tmp_path / "run", **section)
    found = result.model.get_layer("up_0").get_weights()[0]
    assert found.shape[1] < 16
    large = np.linalg.norm(kernel[:, 5])
    stays = np.abs(found).max() > 0.3 * large
    assert stays == (scores == "magnitude")


def test_a_stopped_run_goes_on_with_what_is_left(trained, tmp_path):
    whole = compress(trained, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        stop_in(patch, "on_train_batch_end", {25})
        with pytest.raises(Terminated, match="go on from the last"):
            compress(trained, tmp_path / "stopped")
    again = compress(trained, tmp_path / "stopped")
    assert again.run["resumed"]
    for one, other in zip(
        whole.model.get_weights(), again.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"measure": "masks"}, "share of the whole network"),
        ({"branches": 0.6}, "less than sparsity.target; received 0.6 and 0.6"),
        ({"granularity": "element"}, 'scores has no effect: .*"element"'),
        ({"branches": 0.95, "target": 0.97}, r"branches: All branches.*are 9"),
        ({"target": 0.99}, "out of reach: the masks.* can remove 82.4% at"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    trained, tmp_path, section, words
):
    with pytest.raises(UserError, match=words):
        compress(trained, tmp_path / "run", **section)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["scores", "branches"])
def test_a_new_network_has_nothing_to_spare(key, tmp_path):
    keys = SECTION | {"scores": "magnitude", "branches": 0.0}
    keys[key] = SECTION[key]
    recipe = Recipe.parse({"sparsity": keys, "training": {"epochs": 1}})
    with pytest.raises(UserError, match=f"sparsity.{key}.* this one is new"):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
