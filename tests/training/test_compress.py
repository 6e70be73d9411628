"""A person's own model and data, on the whole road by one call."""

import io
import random

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers
from rich.console import Console
from sklearn.datasets import load_digits

import kbp
from kbp._utils.random_state import kept_random_state
from kbp.data.feeds import feed
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import own_model

IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES.reshape(-1, 8, 8, 1) / 16).astype("float32")
TRAIN = IMAGES[:640], LABELS[:640]
TEST = IMAGES[1500:], LABELS[1500:]
QUICK = {"quantization_epochs": 0, "batch_size": 64}
STEPS = []


class Counting(keras.Model):
    def train_step(self, data):
        STEPS.append(1)
        return super().train_step(data)


def share_right(y_true, y_pred):
    y_true = keras.ops.reshape(y_true, (-1,))
    return keras.ops.equal(keras.ops.argmax(y_pred, -1), y_true)


def build(kind=keras.Model):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(16, 3, activation="relu", name="first")(inputs)
    x = layers.Conv2D(16, 3, activation="relu", name="second")(x)
    x = layers.Dropout(0.1)(layers.Flatten()(x))
    outputs = layers.Dense(10, activation="softmax", name="last")(x)
    model = kind(inputs, outputs, name="mine")
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=[share_right]
    )
    return model


@pytest.fixture(scope="module")
def trained():
    model = build()
    model.fit(*TRAIN, epochs=4, batch_size=32, verbose=0)
    return model


def compress(model, *data, **options):
    console = Console(file=io.StringIO())
    return kbp.compress(model, *data, console=console, **QUICK | options)


def open_sized():
    model = keras.Sequential(
        [
            keras.Input((None, None, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    return model


@pytest.mark.long
def test_files_of_a_model_of_open_sizes_take_those_of_the_examples(tmp_path):
    result = compress(open_sized(), TRAIN, workdir=tmp_path / "run")
    for name in ("float32", "int8"):
        runner = kbp.export.Runner(result.paths[name])
        assert runner.shapes == {"image": (8, 8, 1)}


def cut(*sizes):
    """Return batches of examples, each of one size."""
    return [(IMAGES[:16, :size], LABELS[:16]) for size in sizes]


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (TRAIN, cut(7), r"\(8, 8, 1\) and \(7, 8, 1\)"),
        (lambda: iter(cut(8, 7)), TEST, r"\(None, 8, 1\) and \(8, 8, 1\)"),
        (lambda: iter(cut(8, 7)), cut(8, 7), "of one size to be put together"),
        (cut(8, 7), TEST, "of one size to be put together"),
    ],
    ids=range(4),
)
def test_examples_of_several_sizes_are_said(train, test, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        compress(open_sized(), train, test=test, workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_pruned_int8_file_is_judged_by_ones_own_metric(trained, tmp_path):
    before = trained.get_weights()
    result = compress(
        trained,
        TRAIN,
        test=TEST,
        sparsity={"target": 0.5, "granularity": "channel"},
        epochs=3,
        quantization_epochs=1,
        workdir=tmp_path / "run",
    )
    for old, new in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)  # left as it is
    first, *_, whole, small = result.stages
    assert first.name == "as given"
    outputs = trained.predict(TEST[0], verbose=0).argmax(axis=-1)
    assert first.score == pytest.approx(np.mean(outputs == TEST[1]))
    assert first.parameters == trained.count_params()
    assert first.parameters == result.stages[1].parameters  # no gates
    assert 4 * first.parameters < first.file_size < 50_000 * 4
    assert "Pruning removed " in str(result)
    assert small.parameters < 0.7 * first.parameters
    outputs = kbp.export.Runner(result.paths["int8"]).predict(TEST[0])
    right = np.mean(outputs.argmax(axis=-1) == TEST[1])
    assert small.score == pytest.approx(right)
    assert right > 0.75
    assert small.score > whole.score - 0.02  # six of 297 digits
    assert result.run["metric"] == "share_right"
    assert "<th>share_right</th>" in result._repr_html_()
    assert "<td>int8 .tflite</td>" in result._repr_html_()
    report = result.paths["report"].read_text()
    assert "<h1>mine on arrays</h1>" in report
    assert "loss" in report
    predicted = result.model.predict(TEST[0], verbose=0).argmax(axis=-1)
    assert np.mean(predicted == TEST[1]) == pytest.approx(
        result.stages[2].score
    )
    check = kbp.export.verify(
        result.quantized_model, result.paths["int8"], TEST
    )
    assert check.within_one > 0.99


@pytest.mark.long
def test_what_is_made_learns_from_what_was_given(trained, tmp_path):
    weights = []
    for factor in (0.0, 3.0):
        result = compress(
            trained,
            TRAIN,
            quantization_epochs=1,
            distillation=factor,
            workdir=tmp_path / str(factor),
        )
        weights.append(result.quantized_model.get_weights())
        assert "compute_loss" not in vars(trained)
    assert any(not np.array_equal(a, b) for a, b in zip(*weights, strict=True))

    class OwnStep(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

    own = OwnStep(trained.inputs, trained.outputs)
    own.compile("adam", trained.loss)
    with pytest.raises(ValueError, match="trains by its own `train_step`"):
        compress(own, TRAIN, distillation=1.0, workdir=tmp_path / "own")
    recipe = Recipe.parse({"training": {"distillation": 1.0}})
    with pytest.raises(UserError, match="distillation needs a teacher"):
        kbp.training.run(
            recipe,
            tmp_path / "none",
        )
    assert not (tmp_path / "own").exists()
    assert not (tmp_path / "none").exists()


@pytest.mark.long
def test_channels_leave_by_the_time_that_they_take(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))  # for what was measured
    section = {"measure": "latency", "budget": "knapsack", "multiple_of": 4}
    result = compress(
        trained,
        TRAIN,
        sparsity={"target": 0.05, "granularity": "channel", **section},
        epochs=2,
        quantization_epochs=0,
        workdir=tmp_path / "run",
    )
    table = kbp.export.LatencyTable.load(tmp_path / "run/latency_table.json")
    assert table.predict(result.model) < 0.96 * table.predict(trained)
    assert "latency_table.json" in result.run["files"]
    assert len([*(tmp_path / ".cache/kbp/latency").iterdir()]) == 1


@pytest.mark.slow
def test_a_stopped_call_ends_as_if_it_had_not_been(trained, tmp_path):
    options = {"sparsity": 0.5, "epochs": 3, "batch_size": 128}
    whole = compress(trained, TRAIN, workdir=tmp_path / "a", **options)

    model = keras.Model(trained.input, trained.output, name="mine")
    model.compile("adam", trained.loss, metrics=[share_right])
    epochs = []

    class Once(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.append(epoch)
            if epochs == [0, 1, 2]:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        own = kbp.training.trainer.Trainer.callbacks

        def callbacks(self, *arguments):
            return [*own(self, *arguments), Once()]

        patch.setattr(kbp.training.trainer.Trainer, "callbacks", callbacks)
        with pytest.raises(KeyboardInterrupt, match="the same `workdir=`, to"):
            compress(model, TRAIN, workdir=tmp_path / "b", **options)
        resumed = compress(model, TRAIN, workdir=tmp_path / "b", **options)
    assert epochs == [0, 1, 2, 2]
    for old, new in zip(
        whole.model.get_weights(), resumed.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(old, new)
    assert resumed.run["resumed"]
    # Finished, the call shows the results and trains no more.
    again = compress(model, TRAIN, workdir=tmp_path / "b", **options)
    assert again.stages == resumed.stages
    with pytest.raises(ValueError, match=r"data\.digest.*other `workdir=`"):
        compress(model, TEST, workdir=tmp_path / "b", **options)


WEIGHTED = (*TRAIN, np.ones(len(TRAIN[0])))


class Pieces(keras.utils.PyDataset):
    def __init__(self, arrays=TRAIN):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 5

    def __getitem__(self, index):
        part = slice(128 * index, 128 * index + 128)
        return tuple(array[part] for array in self.arrays)


@pytest.mark.long
@pytest.mark.parametrize(
    "train",
    [
        pytest.param(Pieces(), marks=pytest.mark.slow),
        pytest.param(WEIGHTED, marks=pytest.mark.slow),
        Pieces(WEIGHTED),
    ],
    ids=["PyDataset", "weights", "PyDataset of weights"],
)
def test_every_form_of_data_trains(trained, train, tmp_path):
    result = compress(
        trained, train, TEST, sparsity=0.2, epochs=1, workdir=tmp_path / "run"
    )
    assert result.stages[-1].score > 0.7
    assert result.run["kernel_sparsity"] > 0.05


@pytest.mark.long
def test_ones_own_train_step_trains_every_stage(tmp_path):
    model = build(Counting)
    STEPS.clear()
    model.run_eagerly = True
    result = compress(
        model, TRAIN, epochs=1, quantization_epochs=1, workdir=tmp_path / "run"
    )
    # Once when Keras traces the step of each stage, at least.
    assert len(STEPS) >= 2
    assert type(result.model) is not Counting  # to be deployed anywhere


@pytest.mark.long
def test_several_inputs_and_outputs_are_compressed(tmp_path):
    image = keras.Input((8, 8, 1), name="image")
    side = keras.Input((2,), name="side")
    x = layers.Concatenate()([layers.Flatten()(image), side])
    x = layers.Dense(16, activation="relu")(x)
    x = layers.Dense(16, activation="relu")(x)
    model = keras.Model(
        {"image": image, "side": side},
        {
            "digit": layers.Dense(10, name="digit")(x),
            "odd": layers.Dense(1, name="odd")(x),
        },
    )
    model.compile(
        "adam",
        {
            "digit": keras.losses.SparseCategoricalCrossentropy(True),
            "odd": keras.losses.BinaryCrossentropy(from_logits=True),
        },
        metrics={"digit": "accuracy", "odd": "mae"},
    )
    count = len(TRAIN[0])
    data = (
        {"side": np.ones((count, 2), "float32"), "image": TRAIN[0]},
        {"digit": TRAIN[1], "odd": TRAIN[1][:, None] % 2},
    )
    result = compress(
        model,
        data,
        sparsity=0.5,
        epochs=8,
        learning_rate=1e-2,
        workdir=tmp_path / "run",
    )
    assert result.run["metric"] == "digit_accuracy"
    assert result.stages[-1].score > 0.5  # by chance 0.1


@pytest.mark.slow
def test_only_what_was_done_has_a_row(trained, tmp_path):
    result = compress(trained, TRAIN, workdir=tmp_path / "run")
    assert [stage.name for stage in result.stages] == [
        "as given",
        "quantization-aware",
        "float32 .tflite",
        "int8 .tflite",
    ]
    assert "kernel weights" not in str(result)


@pytest.mark.long
def test_without_quantization_there_is_a_float_file(trained, tmp_path):
    result = compress(
        trained,
        TRAIN,
        quantize=False,
        sparsity=0.5,
        epochs=1,
        workdir=tmp_path / "run",
    )
    assert "int8" not in result.paths
    assert [stage.name for stage in result.stages] == [
        *("as given", "trained", "pruned", "float32 .tflite")
    ]
    assert "float32 file: " in str(result)


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({}, (IMAGES,), "training data hold no targets"),
        ({}, ((IMAGES[..., 0], LABELS),), r"without the last axis"),
        ({}, ([],), "training data hold no example"),
        ({}, (TRAIN, (IMAGES[0], 3)), "validation data must be"),
        ({}, (Pieces(),), "`test` or `validation` must be examples"),
        (
            {},
            (tf.data.Dataset.from_tensor_slices(TRAIN).repeat(),),
            "repeat without end",
        ),
        ({"sparsity": 1.5}, (TRAIN,), "sparsity.target must be less than 1"),
        ({"sparsity": {"goal": 0.5}}, (TRAIN,), "unknown key sparsity.goal"),
        (
            {
                "sparsity": {
                    "target": 0.5,
                    "granularity": "channel",
                    "multiple_of": 16,
                }
            },
            (TRAIN,),
            r"\[sparsity\].*out of reach.*of 16 channels.*second_gate 16 of 16",
        ),
        ({"skip": ["third"]}, (TRAIN,), "`skip` names no layer.*'third'"),
        ({"batch_size": 1000}, (TRAIN,), "batch_size must be at most the 576"),
    ],
)
def test_wrong_arguments_leave_nothing(
    trained, tmp_path, options, data, message
):
    with pytest.raises(ValueError, match=message):
        compress(trained, *data, workdir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def wrong_product(y_true, y_pred):
    return keras.ops.matmul(y_pred, y_pred)


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("one", np.eye(10)[LABELS[:640]], r"\(640, 10\).*y\.argmax"),
        ("one", LABELS[:640].astype(str), "must have numbers as targets"),
        ("one", [*map(str, LABELS[:640])], "must have numbers as targets"),
        ("one", {"digit": LABELS[:640]}, "targets for digit; .* are last"),
        ("one", None, "training data hold no targets"),
        # One of the last examples, which no first batch holds.
        ("one", np.where(np.arange(640) == 639, 10, 0), "10 in example 639"),
        (wrong_product, LABELS[:640], r"\(batch, 1\).*cannot|cannot.*shape"),
    ],
)
@pytest.mark.parametrize("quantize", [True, False])
def test_wrong_targets_leave_nothing(
    trained, tmp_path, loss, targets, message, quantize
):
    options = {} if loss == "one" else {"loss": loss}
    with pytest.raises(ValueError, match=message) as raised:
        compress(
            trained,
            (TRAIN[0], targets),
            workdir=tmp_path / "run",
            quantize=quantize,
            **options,
        )
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_weights_that_no_step_takes_leave_nothing(trained, tmp_path):
    weights = np.ones((640, 3))
    with pytest.raises(UserError, match=r"\(batch, 3\), for .* raises"):
        compress(trained, (*TRAIN, weights), workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_rehearsal_changes_neither_the_model_nor_what_is_random(trained):
    def state():
        values = [*trained.variables, *trained.optimizer.variables]
        return [np.array(x) for x in values]

    before = state()
    random.seed(1)
    np.random.seed(1)
    shapes = {"image": (8, 8, 1)}
    with kept_random_state():
        own_model.try_step(
            trained,
            feed(TRAIN, shapes, "The data"),
            {"loss": trained.loss, "metrics": [share_right]},
        )
    drawn = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    assert drawn == (random.random(), np.random.random())
    for old, new in zip(before, state(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "labels", [LABELS[:640].tolist(), pd.Series(LABELS[:640], range(7, 647))]
)
def test_lists_and_series_of_labels_are_arrays(labels):
    held = feed((TRAIN[0], labels), {"image": (8, 8, 1)}, "The data")
    np.testing.assert_array_equal(held.arrays.targets[:, 0], LABELS[:640])


@pytest.mark.parametrize("name", ["in", "self", "two words"])
def test_a_name_that_no_file_can_have_is_refused_at_once(name, tmp_path):
    inputs = keras.Input((4,), name="fine")
    inputs.name = name
    inputs._keras_history.operation.name = name
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.compile("adam", "mse")
    data = np.ones((40, 4), "float32"), np.ones((40, 1))
    with pytest.raises(ValueError, match=f"Input '{name}' .* cannot be"):
        compress(model, data, workdir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_loss_is_named(tmp_path):
    model = kbp.graph.plain(build())
    with pytest.raises(ValueError, match="mine is not compiled with a loss"):
        compress(model, TRAIN, workdir=tmp_path / "run")


@pytest.mark.parametrize("which", ["training", "validation", "test"])
@pytest.mark.parametrize("place", [3, 300])
def test_wrong_targets_of_any_batch_leave_nothing(
    trained, tmp_path, which, place
):
    labels = np.where(np.arange(640) == place, 10, TRAIN[1])
    wrong = tf.data.Dataset.from_tensor_slices((TRAIN[0], labels)).batch(64)
    splits = {"training": TRAIN, "validation": TEST, "test": TEST}
    with pytest.raises(
        UserError, match=f"The {which} .* 10 in example {place}"
    ):
        compress(
            trained, *{**splits, which: wrong}.values(), workdir=tmp_path / "r"
        )
    assert not (tmp_path / "r").exists()


@pytest.mark.long
@pytest.mark.parametrize("good", [1, 5])
def test_a_data_set_that_fails_later_is_named(good, tmp_path):
    passes = []

    def fewer():
        passes.append(1)
        for n in range(4 if len(passes) <= good else 1):
            yield TRAIN[0][64 * n :][:64], TRAIN[1][64 * n :][:64]

    with pytest.raises(UserError, match="training data end before batch 1 "):
        compress(build(), fewer, None, TEST, epochs=4, workdir=tmp_path / "run")
