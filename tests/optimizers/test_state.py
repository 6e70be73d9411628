"""The optimizer's state: saved, loaded, refused; gradients not finite."""

import warnings

import fresh
import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import as_numpy

import kbp

X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = np.random.default_rng(1).normal(size=(32, 2)).astype("float32")


def sequential():
    layers = [keras.layers.Dense(70, "tanh"), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((6,)), *layers])


def functional():
    inputs = keras.Input((6,))
    x = keras.layers.Dense(5, "tanh")(inputs)
    y = keras.layers.Dense(5, "tanh")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(x + y))


def nested():
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, "tanh")])
    return keras.Sequential([keras.Input((6,)), inner, keras.layers.Dense(2)])


def shared():
    inputs = keras.Input((6,))
    layer = keras.layers.Dense(6, "tanh")
    return keras.Model(inputs, keras.layers.Dense(2)(layer(layer(inputs))))


OPTIONS = {
    "matrix_steps": True,
    "weight_decay": 0.01,
    "use_ema": True,
    "gradient_accumulation_steps": 2,
    "amsgrad_decay": 0.99,
}


@pytest.mark.long
@pytest.mark.parametrize(
    "make",
    [
        sequential,
        pytest.param(nested, marks=pytest.mark.slow),
        pytest.param(functional, marks=pytest.mark.slow),
        pytest.param(shared, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("improved_graphs")
def test_state_goes_on_bit_by_bit_in_a_fresh_process(make, tmp_path):
    keras.utils.set_random_seed(0)
    model = make()
    optimizer = kbp.HybridOptimizer(0.01, **OPTIONS)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    steps = int(np.random.default_rng().integers(1, 8))
    for _ in range(steps):
        model.train_on_batch(X, Y)
    model.save(tmp_path / "model.keras")
    for _ in range(5):
        model.train_on_batch(X, Y)
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    fresh.python(
        f"""
import keras, kbp
import numpy as np
folder = {str(tmp_path)!r}
data = np.load(f"{{folder}}/data.npz")
model = keras.saving.load_model(f"{{folder}}/model.keras")
for _ in range(5):
    model.train_on_batch(data["x"], data["y"])
state = {{}}
model.optimizer.save_own_variables(state)
np.savez(f"{{folder}}/after.npz", *model.get_weights(), **state)
"""
    )
    after = np.load(tmp_path / "after.npz")
    state = {}
    optimizer.save_own_variables(state)
    names = [f"arr_{i}" for i in range(len(model.weights))]
    assert set(after.files) == {*names, *state}
    for name, value in [
        *zip(names, model.get_weights(), strict=True),
        *state.items(),
    ]:
        np.testing.assert_array_equal(
            after[name], value, err_msg=f"{steps} {name}"
        )


def test_state_of_other_variables_is_refused(tmp_path):
    model = sequential()
    model.compile(kbp.HybridOptimizer(), "mse")
    model.train_on_batch(X, Y)
    state = {}
    model.optimizer.save_own_variables(state)
    for other, options, name in (
        (functional(), {}, "maximum_0"),
        (sequential(), {"amsgrad_decay": 0.0}, "maximum_0"),
        (sequential(), {"use_ema": True}, "average_0"),
    ):
        optimizer = kbp.HybridOptimizer(**options)
        optimizer.build(other.trainable_variables)
        with pytest.raises(ValueError, match=f"does not fit.*{name}"):
            optimizer.load_own_variables(state)
    # In a file, too: Keras only warns of its own optimizers.
    model.save(tmp_path / "model.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "kbp.optimizers.step.Step.names_of_moments",
            lambda self, group: ("momentum",),
        )
        with pytest.raises(ValueError, match="does not fit"):
            keras.saving.load_model(tmp_path / "model.keras")


def test_state_is_the_same_file_for_every_grouping(monkeypatch):
    from kbp.optimizers import tensorflow_execution as execution

    def state():
        keras.utils.set_random_seed(0)
        model = sequential()
        model.compile(kbp.HybridOptimizer(), "mse")
        model.train_on_batch(X, Y)
        arrays = {}
        model.optimizer.save_own_variables(arrays)
        return model.optimizer, arrays

    fused, expected = state()
    assert "with 3 others" in fused.describe()
    monkeypatch.setattr(execution, "_xla_works", lambda: False)
    single, arrays = state()
    assert arrays.keys() == expected.keys()
    for name, value in arrays.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)
    single.load_own_variables(expected)
    fused.load_own_variables(arrays)


def test_frozen_layers_keep_their_weights_and_moments():
    keras.utils.set_random_seed(0)
    model = sequential()
    optimizer = kbp.HybridOptimizer(0.01)
    model.compile(optimizer, "mse")
    model.train_on_batch(X, Y)
    first, second = model.layers
    first.trainable = False
    model.compile(optimizer, "mse")
    before = [as_numpy(v).copy() for v in first.weights + second.weights]
    model.train_on_batch(X, Y)
    after = [as_numpy(v) for v in first.weights + second.weights]
    for i in (0, 1):
        np.testing.assert_array_equal(before[i], after[i])
        assert np.any(before[i + 2] != after[i + 2])
    # Thawed, it goes on; a new part wants a new optimizer, in Keras's words.
    first.trainable = True
    model.compile(optimizer, "mse")
    model.train_on_batch(X, Y)
    assert np.any(as_numpy(first.weights[0]) != before[0])
    grown = keras.Sequential([model, keras.layers.Dense(2)])
    grown.compile(optimizer, "mse")
    with pytest.raises(ValueError, match="recreate a new optimizer"):
        grown.train_on_batch(X, Y)


@pytest.mark.long
@pytest.mark.parametrize(
    # The second of the two variables never takes matrix steps.
    "matrix",
    [pytest.param(False, marks=pytest.mark.slow), True],
)
def test_thousand_bad_gradients_leave_everything_finite(matrix):
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=s)) for s in ((4, 3), (3,))]
    optimizer = kbp.HybridOptimizer(
        0.01, matrix_steps=[matrix, False], max_skipped_steps=2000, use_ema=True
    )
    bad = [np.nan, np.inf, -np.inf, 1e20, 3e38]
    skipped = 0
    for _ in range(1000):
        gradients = [rng.normal(size=v.shape) for v in variables]
        if rng.random() < 0.7:
            skipped += 1
            broken = gradients[rng.integers(2)]
            broken.flat[rng.integers(broken.size)] = rng.choice(bad)
            before = [as_numpy(v).copy() for v in variables]
        else:
            before = None
        optimizer.apply(
            [keras.ops.array(g, "float32") for g in gradients], variables
        )
        if before is not None:
            for a, b in zip(before, variables, strict=True):
                np.testing.assert_array_equal(a, as_numpy(b))
    assert optimizer.skipped_steps == skipped
    state = {}
    optimizer.save_own_variables(state)
    for name, value in state.items():
        assert np.isfinite(value).all(), name
    assert all(np.isfinite(as_numpy(v)).all() for v in variables)


def test_skipped_steps_are_as_if_they_had_not_been():
    def trained(gradients):
        variable = keras.Variable(np.ones((3, 2)))
        optimizer = kbp.HybridOptimizer(0.01, weight_decay=0.1)
        for gradient in gradients:
            optimizer.apply([keras.ops.array(gradient)], [variable])
        return as_numpy(variable), optimizer.skipped_in_a_row

    rng = np.random.default_rng(0)
    good = [rng.normal(size=(3, 2)).astype("float32") for _ in range(4)]
    nan = np.full((3, 2), np.nan, "float32")
    with_bad, in_a_row = trained(
        [nan, good[0], good[1], nan, nan, *good[2:], nan]
    )
    assert in_a_row == 1
    np.testing.assert_array_equal(with_bad, trained(good)[0])


def test_bad_micro_batch_is_left_out_of_the_sum():
    variable = keras.Variable([1.0])
    optimizer = kbp.HybridOptimizer(
        0.1, gradient_accumulation_steps=2, preconditioner_power=0.0, beta_1=0.0
    )
    for gradient in (float("inf"), 4.0):
        optimizer.apply([keras.ops.array([gradient])], [variable])
    assert float(as_numpy(variable)[0]) == pytest.approx(1 - 0.1 * 4 / 2)


def test_a_window_of_bad_micro_batches_changes_nothing():
    variable = keras.Variable([1.0])
    optimizer = kbp.HybridOptimizer(
        0.1, gradient_accumulation_steps=2, weight_decay=0.1
    )
    for gradient in (1.0, 1.0):
        optimizer.apply([keras.ops.array([gradient])], [variable])
    before = float(as_numpy(variable)[0])
    for gradient in (np.nan, np.inf):
        optimizer.apply([keras.ops.array([gradient])], [variable])
    assert float(as_numpy(variable)[0]) == before
    state = {}
    optimizer.save_own_variables(state)
    assert (int(state["updates"]), int(state["iterations"])) == (1, 4)
    for gradient in (np.nan, 1.0):
        optimizer.apply([keras.ops.array([gradient])], [variable])
    assert float(as_numpy(variable)[0]) < before


def test_sums_end_with_their_window():
    variables = [keras.Variable([1.0]), keras.Variable([1.0])]
    optimizer = kbp.HybridOptimizer(gradient_accumulation_steps=2)
    one = keras.ops.array([1.0])
    optimizer.apply([one, one], variables)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([one, None], variables)
    state = {}
    optimizer.save_own_variables(state)
    assert float(state["sum_0"][0]) == float(state["sum_1"][0]) == 0.0


def test_many_skipped_steps_in_a_row_are_an_error():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(kbp.HybridOptimizer(max_skipped_steps=3), "mse")
    x = np.full((2, 2), np.inf, "float32")
    before = model.get_weights()
    for _ in range(2):
        model.train_on_batch(x, np.ones((2, 1)))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="skipped 3 steps in a row"
    ):
        model.train_on_batch(x, np.ones((2, 1)))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_untrained_model_is_saved_and_loaded(tmp_path):
    model = sequential()
    model.compile(kbp.HybridOptimizer(0.02), "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.train_on_batch(X, Y)
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.02)


OPTIMIZERS = {
    "hybrid": kbp.HybridOptimizer,
    "synchronized": lambda: kbp.optimizers.SynchronizedOptimizer(
        keras.optimizers.Adam()
    ),
    "loss_scale": lambda: kbp.optimizers.LossScale(kbp.HybridOptimizer()),
}


@pytest.mark.long
@pytest.mark.parametrize("name", [*OPTIMIZERS])
@pytest.mark.parametrize("saved", ["own", "adam"])
@pytest.mark.parametrize("built", [False, True])
def test_files_of_weights_are_loaded_whatever_the_optimizer(
    name, saved, built, tmp_path
):
    model, other = sequential(), sequential()
    make = OPTIMIZERS[name]
    model.compile(make() if saved == "own" else "adam", "mse")
    model.train_on_batch(X, Y)
    model.save_weights(tmp_path / "all.weights.h5")
    other.compile(make(), "mse")
    if built:
        other.optimizer.build(other.trainable_variables)
    if saved == "own" and built:
        other.load_weights(tmp_path / "all.weights.h5")
        assert int(as_numpy(other.optimizer.iterations)) == 1
    else:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            other.load_weights(tmp_path / "all.weights.h5")
        assert any("begins anew" in str(one.message) for one in said)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    other.train_on_batch(X, Y)


def test_a_loss_scale_answers_what_its_optimizer_does():
    asked = vars(kbp.optimizers.summing.SummingOptimizer).items()
    names = {name for name, value in asked if isinstance(value, property)}
    assert names <= {*dir(kbp.optimizers.LossScale)}
    schedule = kbp.optimizers.schedules.Plateau(0.1, 0)
    optimizer = kbp.optimizers.LossScale(kbp.HybridOptimizer(schedule))
    assert optimizer.schedule is schedule


@pytest.mark.long
@pytest.mark.parametrize("size", [1e4, 1e6])
def test_a_loss_scale_is_found_however_far_it_is(size):
    scales = []
    for make in (
        kbp.optimizers.LossScale,
        keras.optimizers.LossScaleOptimizer,
    ):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(16, dtype="mixed_float16"),
                keras.layers.Dense(2, dtype="float32"),
            ]
        )
        model.compile(make(kbp.HybridOptimizer()), "mse")
        for _ in range(25):
            model.train_on_batch(X, size * Y)
        scales.append(float(as_numpy(model.optimizer.dynamic_scale)))
    assert scales[0] < 2.0**8
    assert 0.5 <= scales[0] / scales[1] <= 2


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [{"gradient_accumulation_steps": 4}, {}],
    ids=["early", "skipped"],
)
def test_averages_before_the_first_update_are_the_weights(options):
    model = sequential()
    model.compile(kbp.HybridOptimizer(use_ema=True, **options), "mse")
    before = model.get_weights()
    x = X if options else np.full_like(X, np.nan)
    model.fit(x, Y, batch_size=16, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_averages_stay_with_their_variables_when_layers_are_frozen():
    model = sequential()
    optimizer = kbp.HybridOptimizer(0.01, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    model.train_on_batch(X, Y)
    model.layers[0].trainable = False
    model.compile(optimizer, "mse")
    model.train_on_batch(X, Y)
    state = {}
    optimizer.save_own_variables(state)
    with kbp.optimizers.averaged_weights(model):
        for i, weight in enumerate(model.get_weights()):
            np.testing.assert_array_equal(weight, state[f"average_{i}"])


def test_exclusion_from_decay_is_saved_and_can_be_chosen_anew():
    def decayed(optimizer):
        kernel, bias = (
            keras.Variable([1.0], name=n) for n in ("kernel", "bias")
        )
        zero = keras.ops.zeros((1,))
        optimizer.apply([zero, zero], [kernel, bias])
        return [float(as_numpy(v)[0]) < 1 for v in (kernel, bias)]

    first = kbp.HybridOptimizer(0.1, weight_decay=0.5)
    first.exclude_from_weight_decay(var_names=["bias"])
    assert decayed(first) == [True, False]
    again = kbp.HybridOptimizer.from_config(first.get_config())
    assert decayed(again) == [True, False]
    other = kbp.HybridOptimizer.from_config(first.get_config())
    with pytest.raises(ValueError, match="2 variables which of them decay"):
        other.build([keras.Variable([1.0]) for _ in range(3)])
    changed = kbp.HybridOptimizer.from_config(first.get_config())
    changed.exclude_from_weight_decay(var_names=["kernel"])
    assert decayed(changed) == [False, True]
    with pytest.raises(ValueError, match="before the optimizer is built"):
        first.exclude_from_weight_decay(var_names=["kernel"])
