"""Examples in every form that `fit` and `predict` take."""

import keras
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kbp
from kbp._utils.examples import batches

COUNT = 70
IMAGES = np.random.default_rng(0).random((COUNT, 4, 4, 1), "float32")
LABELS = np.arange(COUNT)
WEIGHTS = np.linspace(1, 2, COUNT)
ONE = {"image": (4, 4, 1)}
ROWS = np.random.default_rng(1).random((COUNT, 3), "float32")
TWO = {"image": (4, 4, 1), "row": (3,)}
EVERYTHING = (IMAGES, LABELS, WEIGHTS)


class Pieces(keras.utils.PyDataset):
    def __len__(self):
        return 7

    def __getitem__(self, index):
        part = slice(10 * index, 10 * index + 10)
        return IMAGES[part], LABELS[part]


def dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays)


def tens():
    for start in range(0, COUNT, 10):
        yield IMAGES[start : start + 10]


def read(data, shapes=ONE, **options):
    found = list(batches(data, shapes, "The data", **options))
    inputs = [
        np.concatenate(x)
        for x in zip(*(batch.inputs for batch in found), strict=True)
    ]
    return inputs, found


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (IMAGES, [32, 32, 6]),
        ((IMAGES, LABELS), [32, 32, 6]),
        (EVERYTHING, [32, 32, 6]),
        ({"image": IMAGES}, [32, 32, 6]),
        (tf.constant(IMAGES), [32, 32, 6]),
        ([IMAGES[:40], IMAGES[40:]], [40, 30]),
        ([(IMAGES[:40], LABELS[:40]), (IMAGES[40:], LABELS[40:])], [40, 30]),
        (list(IMAGES), [32, 32, 6]),
        ([[image] for image in IMAGES], [32, 32, 6]),
        ([[image[None]] for image in IMAGES], [1] * COUNT),
        (dataset(IMAGES, LABELS), [32, 32, 6]),
        (dataset(*EVERYTHING).batch(35), [35, 35]),
        (dataset(IMAGES).batch(50), [50, 20]),
        (Pieces(), [10] * 7),
        (tens, [10] * 7),
        (tens(), [10] * 7),
        ([{"image": IMAGES}], [COUNT]),
    ],
    ids=range(17),
)
def test_every_form_gives_the_same_examples(data, sizes):
    (inputs,), found = read(data)
    np.testing.assert_array_equal(inputs, IMAGES)
    assert [len(batch) for batch in found] == sizes


@pytest.mark.parametrize(
    "data",
    [
        EVERYTHING,
        dataset(*EVERYTHING),
        dataset(*EVERYTHING).batch(11),
        list(zip(*EVERYTHING, strict=True)),
    ],
    ids=["arrays", "examples", "batches", "list"],
)
def test_targets_and_weights_stay_beside_their_inputs(data):
    _, found = read(data)
    for name, expected in (("targets", LABELS), ("weights", WEIGHTS)):
        values = np.concatenate([getattr(batch, name) for batch in found])
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    "data",
    [
        [IMAGES, ROWS],
        (IMAGES, ROWS),
        {"row": ROWS, "image": IMAGES},
        ([IMAGES, ROWS], LABELS),
        ({"image": IMAGES, "row": ROWS}, LABELS, WEIGHTS),
        dataset({"image": IMAGES, "row": ROWS}, LABELS).batch(9),
        dataset((IMAGES, ROWS), LABELS),
        [[[IMAGES, ROWS], LABELS]],
        [[IMAGES, ROWS]],
        list(zip(IMAGES, ROWS, strict=True)),
    ],
    ids=range(10),
)
def test_several_inputs_come_in_the_models_order(data):
    (images, rows), _ = read(data, TWO)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(rows, ROWS)


def test_of_arrays_a_few_are_spread_evenly():
    (inputs,), _ = read(IMAGES, at_most=8)
    np.testing.assert_array_equal(
        inputs, IMAGES[[0, 10, 20, 30, 39, 49, 59, 69]]
    )


def test_numbers_are_vectors_of_one_as_in_keras():
    for data in (np.arange(5.0), (np.arange(5.0), np.arange(5.0))):
        assert len(read(data, {"x": (1,)})[1][0]) == 5


def test_a_frame_is_an_array():
    (found,), _ = read(pd.DataFrame(ROWS), {"row": (3,)})
    np.testing.assert_array_equal(found, ROWS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGES[0], r"\(batch, 4, 4, 1\). Received: \(4, 4, 1\), which is one"),
        (IMAGES[..., 0], r"Received: \(70, 4, 4\), without the last axis"),
        (LABELS, r"be batches of \(batch, 4, 4, 1\). Received: \(70,\)$"),
        ([LABELS], r"Received: \(70,\)$"),
        ((IMAGES, LABELS[:5]), r"have 70 examples, but targets of .*\(5,\)"),
        ((IMAGES, LABELS, WEIGHTS[:5]), r"70 examples, but weights of"),
        ((*EVERYTHING, LABELS), r"\(inputs, targets, weights\), with inputs"),
        (IMAGES.astype(str), r"must be numbers. Received: <U"),
        ([object()], r"must be inputs.* Received: a tuple of a object"),
        ("images.npy", r"arrays, a data set or batches. Received: a str"),
        (5, r"arrays, a data set or batches. Received: a int"),
        ({"image": IMAGES, "row": ROWS}, r"with inputs of \(batch, 4, 4, 1\)"),
    ],
    ids=range(12),
)
def test_wrong_data_are_named_by_their_shape(data, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(data)
    assert len(str(caught.value)) < 250  # no array is printed


def test_unlike_inputs_are_named():
    with pytest.raises(ValueError, match=r"but inputs of shape \(5, 3\)"):
        read([IMAGES, ROWS[:5]], TWO)


def test_a_model_that_is_not_built_is_named():
    model = keras.Sequential([keras.layers.Dense(2)], name="late")
    with pytest.raises(ValueError, match="Model late is not built"):
        kbp.quantization.quantize(model, IMAGES)


@pytest.fixture(scope="module")
def two_sided(tmp_path_factory):
    """Return a model of two inputs and outputs, rounded, and its file."""
    image = keras.Input((4, 4, 1), name="image")
    row = keras.Input((3,), name="row")
    x = keras.layers.Flatten()(image)
    both = keras.layers.Concatenate()([x, row])
    model = keras.Model(
        {"image": image, "row": row},
        {
            "wide": keras.layers.Dense(4, name="wide")(both),
            "narrow": keras.layers.Dense(1, name="narrow")(row),
        },
    )
    path = tmp_path_factory.mktemp("two") / "model.tflite"
    quantized = kbp.quantization.quantize(model, {"image": IMAGES, "row": ROWS})
    kbp.export.to_tflite(quantized, path)
    return quantized, path


@pytest.mark.long
def test_several_inputs_and_outputs_walk_the_road(two_sided):
    quantized, path = two_sided
    data = {"row": ROWS, "image": IMAGES}
    check = kbp.export.verify(quantized, path, data)
    assert check.outputs == 5 * COUNT
    assert check.within_one == 1
    runner = kbp.export.Runner(path)
    found = dict(zip((1, 4), runner.predict(data), strict=True))
    expected = quantized.predict(data, verbose=0)
    for name, width in (("narrow", 1), ("wide", 4)):
        assert np.abs(found[width] - expected[name]).max() < 0.05
    (latency,) = kbp.export.benchmark([path], rounds=1, seconds=1e-3)
    assert latency.median > 0


def test_inputs_of_one_shape_are_told_apart_by_their_names(tmp_path):
    first = keras.Input((3,), name="zeta")
    second = keras.Input((3,), name="alpha")
    both = keras.layers.Concatenate()([first, keras.layers.Dense(2)(second)])
    model = keras.Model([first, second], keras.layers.Dense(2)(both))
    data = {"alpha": ROWS[::-1], "zeta": ROWS}
    quantized = kbp.quantization.quantize(model, data)
    for made in (model, quantized):
        path = tmp_path / f"{made is model}.tflite"
        kbp.export.to_tflite(made, path)
        runner = kbp.export.Runner(path)
        assert list(runner.shapes) == ["zeta", "alpha"]
        np.testing.assert_array_equal(
            runner.predict(data), runner.predict([ROWS, ROWS[::-1]])
        )
    with pytest.raises(ValueError, match="have the inputs zeta, alpha"):
        kbp.quantization.quantize(model, {"zeta": ROWS, "beta": ROWS})


def test_a_file_names_what_it_takes(two_sided):
    with pytest.raises(ValueError, match=r"Inputs must be .*4, 4, 1\)"):
        kbp.export.Runner(two_sided[1]).predict(IMAGES)


def test_statistics_are_refreshed_from_arrays():
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((3,)), norm])
    kbp.optimizers.refresh_batch_norm(model, (ROWS[:64], LABELS[:64]))
    expected = (ROWS[:32].mean(axis=0) + ROWS[32:64].mean(axis=0)) / 2
    np.testing.assert_allclose(norm.moving_mean, expected, rtol=1e-5)


def test_numbers_of_bfloat16_are_read_as_float32():
    short = IMAGES.astype(ml_dtypes.bfloat16)
    data = short, short[:, 0], short[:, 0, 0, 0]
    for given in (data, tf.data.Dataset.from_tensor_slices(data).batch(8)):
        (first, *_) = batches(given, ONE, "Data", batch_size=8)
        for array in (*first.inputs, first.targets, first.weights):
            assert np.asarray(array).dtype == "float32"
        np.testing.assert_array_equal(
            first.inputs[0], short[:8].astype("float32")
        )
