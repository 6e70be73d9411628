"""Several trainings from other seeds, of which the best one stays."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kbp

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")
DATA = (X[:24], Y[:24])
VALIDATION = (X[24:], Y[24:])


def build(rate=0.1):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(
        keras.optimizers.SGD(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def score(model, name):
    found = model.evaluate(*VALIDATION, verbose=0, return_dict=True)
    return found[name]


@pytest.mark.long
@pytest.mark.parametrize(
    ("monitor", "mode", "best"),
    [("loss", "min", min), ("accuracy", "max", max)],
)
def test_the_best_start_is_kept_and_all_are_told(monitor, mode, best):
    options = {"starts": 4, "monitor": monitor, "mode": mode, "verbose": 0}
    found = kbp.training.multi_start(build, DATA, VALIDATION, **options)
    assert found.seeds == (0, 1, 2, 3)
    assert found.scores[found.best] == best(found.scores)
    assert score(found.model, monitor) == found.scores[found.best]
    assert found.mean == pytest.approx(np.mean(found.scores))
    assert found.spread == pytest.approx(np.std(found.scores, ddof=1))
    assert len({*found.scores}) > 1
    assert f"of seed {found.seeds[found.best]}" in str(found)


def test_a_start_is_the_training_of_its_seed():
    found = kbp.training.multi_start(
        build, DATA, VALIDATION, starts=1, seed=7, verbose=0, epochs=2
    )
    keras.utils.set_random_seed(7)
    alone = build()
    alone.fit(*DATA, verbose=0, epochs=2)
    for a, b in zip(
        alone.get_weights(), found.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert found.spread == 0.0


def test_one_model_cannot_start_twice():
    model = build()
    with pytest.raises(ValueError, match="must return a new model each time"):
        kbp.training.multi_start(lambda: model, DATA, VALIDATION, verbose=0)


def test_examples_have_weights():
    x, y = DATA
    weights = np.arange(len(x)) % 2.0
    data = (x, np.where(weights > 0, y, 1 - y), weights)
    found = kbp.training.multi_start(
        build, data, data, starts=1, seed=3, epochs=2, verbose=0
    )
    keras.utils.set_random_seed(3)
    alone = build()
    alone.fit(x, y, sample_weight=weights, epochs=2, verbose=0)
    for a, b in zip(
        alone.get_weights(), found.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    loss, _ = alone.evaluate(x, y, sample_weight=weights, verbose=0)
    assert found.scores == (pytest.approx(loss),)


def test_data_sets_are_taken_as_they_are():
    made = tf.data.Dataset.from_tensor_slices(DATA).batch(8)
    found = kbp.training.multi_start(build, made, made, starts=2, verbose=0)
    assert len(found.scores) == 2


@pytest.mark.long
def test_a_start_that_diverged_is_not_the_best():
    rates = iter([float("nan"), 0.1, float("nan")])
    found = kbp.training.multi_start(
        lambda: build(next(rates)), DATA, VALIDATION, starts=3, verbose=0
    )
    assert found.best == 1
    with pytest.raises(ValueError, match="All 2 starts diverged"):
        kbp.training.multi_start(
            lambda: build(float("nan")), DATA, VALIDATION, starts=2, verbose=0
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"starts": 0},
        {"starts": "3"},
        {"seed": -1},
        {"mode": "least"},
        {"monitor": "acc"},
    ],
    ids=str,
)
def test_wrong_arguments_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        kbp.training.multi_start(
            build, DATA, VALIDATION, **{"verbose": 0, **wrong}
        )


def test_what_builds_no_model_is_named():
    with pytest.raises(ValueError, match="that returned NoneType"):
        kbp.training.multi_start(lambda: None, DATA, VALIDATION)
