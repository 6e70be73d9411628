"""Outputs that are indices, truths, slices or several, in both files."""

import keras
import numpy as np
import pytest
from contracts import as_numpy, image_model
from keras import layers, ops

from kbp import export
from kbp.quantization import quantize_aware

VECTOR, IMAGE = (8,), (6, 6, 3)
CASES = {}


def case(shape=VECTOR, fast=False):
    """Take a function from one tensor to outputs as a case."""

    def add(body):
        marks = () if fast else pytest.mark.slow
        CASES[body.__name__] = pytest.param(body, shape, marks=marks)
        return body

    return add


def scores(x, classes=9):
    return layers.Dense(classes)(x)


@case(fast=True)
def classes_beside_probabilities(x):
    y = layers.Softmax()(scores(x))
    return {"class": ops.argmax(y, axis=-1), "probabilities": y}


@case(IMAGE, fast=True)
def detections(x):
    y = layers.Conv2D(6, 3)(x)
    return {
        "label": ops.argmax(y, axis=-1, keepdims=True),
        "score": ops.max(ops.sigmoid(y), axis=-1),
        "box": layers.Conv2D(4, 1)(x)[:, 1:3],
    }


@case(fast=True)
def greatest_values_and_their_places(x):
    return list(ops.top_k(scores(x), 3))


@case(fast=True)
def chosen_by_a_comparison(x):
    y = scores(x)
    return ops.where(ops.logical_and(y > -0.5, y < 0.5), y, 0.0)


@case()
def least(x):
    return ops.argmin(scores(x), axis=-1)


@case(fast=True)
def functions_as_operations(x):
    return {"less": -scores(x), "probabilities": ops.softmax(scores(x))}


@case()
def places_alone(x):
    return ops.top_k(scores(x), 3)[1]


@case()
def greatest_values_joined(x):
    values, places = ops.top_k(scores(x), 3)
    return [ops.concatenate([values, scores(x, 2)], axis=-1), places]


@case()
def chosen_from_two(x):
    y = scores(x)
    return ops.where(ops.argmax(y, axis=-1, keepdims=True) > 3, y, scores(x))


@case()
def chosen_from_an_input(x):
    return ops.where(x > 0.1, x, scores(x, 8))


@case()
def chosen_numbers(x):
    return ops.where(scores(x) > 0.1, 1.0, 0.25)


@case()
def truths(x):
    y = scores(x)
    return {"each": y > 0.5, "any": ops.any(y > 1.5, axis=-1)}


@case()
def masked_by_a_cast(x):
    y = scores(x)
    return y * ops.cast(y >= 0.2, "float32")


@case()
def one_hot_of_the_greatest(x):
    return ops.one_hot(ops.argmax(scores(x), axis=-1), 9)


@case()
def rows_of_the_greatest(x):
    return layers.Embedding(9, 4)(ops.argmax(scores(x), axis=-1))


@case()
def number_of_the_greatest(x):
    return 0.5 * ops.cast(ops.argmax(scores(x), -1), "float32")


@case()
def equal_classes(x):
    return ops.equal(ops.argmax(scores(x), -1), ops.argmax(scores(x), -1))


@case()
def the_input_and_more(x):
    return {"as it is": x, "as computed": scores(x)}


@case()
def clipped(x):
    return ops.clip(scores(x), -0.5, 1.0)


@case(IMAGE)
def stacked_and_split(x):
    left, right = ops.split(layers.Conv2D(8, 3)(x), 2, axis=-1)
    return ops.stack([left, ops.relu(right)], axis=1)


@case(IMAGE)
def moved_and_taken(x):
    y = ops.swapaxes(layers.Conv2D(8, 3)(x), 1, 2)
    return ops.take(ops.moveaxis(y, 1, 2), [0, 2], axis=-1)


@case(IMAGE)
def sums_of_places(x):
    return ops.sum(layers.Conv2D(8, 3)(x), axis=(1, 2))


@pytest.mark.long
@pytest.mark.parametrize(("body", "shape"), CASES.values(), ids=CASES)
def test_files_give_what_the_model_gives(body, shape, tmp_path):
    keras.utils.set_random_seed(0)
    model = image_model(body, shape)
    x = np.random.default_rng(0).normal(size=(64, *shape)).astype("float32")
    path = tmp_path / "model.tflite"
    for computed in (model, quantize_aware(model, x)):
        export.to_tflite(computed, path, verify_with=x)
        expected = list(map(as_numpy, keras.tree.flatten(computed(x))))
        found = keras.tree.flatten(export.Runner(path).predict(x))
        for of_model, of_file in zip(expected, found, strict=True):
            assert of_file.dtype == of_model.dtype
            if of_model.dtype.kind != "f":
                # Within one step of a score, another index may be the first.
                assert np.mean(of_file == of_model) > 0.97
        for reference in (False, True):
            check = export.verify(computed, path, x, reference=reference)
            assert check.within_one >= 0.99, (reference, check)


def test_argmax_is_an_operation_of_integers(tmp_path):
    model = image_model(lambda x: ops.argmax(scores(x), -1), VECTOR)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    path = tmp_path / "model.tflite"
    audit = export.to_tflite(quantize_aware(model, x), path)
    names = [operation.name for operation in audit.operations]
    assert names == ["FULLY_CONNECTED", "ARG_MAX"]
    assert not audit.float_operations


def test_comparisons_see_values_that_are_small(tmp_path):
    """LiteRT's integer comparison rounds what it compares to 256ths."""
    normal = keras.initializers.RandomNormal(stddev=1e-4)
    model = image_model(
        lambda x: layers.Dense(9, kernel_initializer=normal)(x) > 1e-4, VECTOR
    )
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    path = tmp_path / "model.tflite"
    quantized = quantize_aware(model, x)
    export.to_tflite(quantized, path)
    found = export.Runner(path).predict(x)
    assert 0.1 < found.mean() < 0.9
    np.testing.assert_array_equal(found, as_numpy(quantized(x)))


@keras.saving.register_keras_serializable(package="test")
class Label(layers.Layer):
    def call(self, inputs):
        return ops.argmax(inputs, axis=-1)


def test_argmax_within_a_layer_of_ones_own_is_exported(tmp_path):
    model = image_model(lambda x: Label()(scores(x)), VECTOR)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    export.to_tflite(model, tmp_path / "model.tflite")
    found = export.Runner(tmp_path / "model.tflite").predict(x)
    np.testing.assert_array_equal(found, as_numpy(model(x)))
    # Keras's own is in its place again.
    assert int(ops.argmax(np.array([-0.0, 0.0], "float32"))) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda x: ops.argmax(x), "Layer argmax .* has no batch axis"),
        (
            lambda x: ops.erfinv(layers.Dense(2)(x)),
            r"at layer erfinv: 'tf\.Erfinv'",
        ),
    ],
)
def test_what_no_file_can_give_is_named(body, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export.to_tflite(image_model(body, VECTOR), tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_choice_by_a_number_is_refused():
    with pytest.raises(ValueError, match=r"Layer where .*such as x != 0"):
        quantize_aware(image_model(lambda x: ops.where(x, x, 0.0), VECTOR))


def test_index_is_as_far_away_as_its_score(tmp_path):
    """Two scores a step apart are near, others are not."""
    inputs = keras.Input((3,), name="scores")
    moved = layers.Dense(3, use_bias=False)
    model = keras.Model(inputs, ops.argmax(moved(inputs), axis=-1))
    moved.kernel.assign(np.eye(3))
    x = np.array([[1, 0, 0], [0, 1, 0.0], [0.5015, 0.502, 0]], "float32")
    path = tmp_path / "model.tflite"
    export.to_tflite(quantize_aware(model, np.eye(3)), path)
    assert export.Runner(path).predict(x).tolist() == [0, 1, 0]
    # A model that takes another one wherever the first two are not equal.
    moved.kernel.assign(np.eye(3)[[1, 0, 2]])
    check = export.verify(quantize_aware(model, np.eye(3)), path, x)
    assert (check.unit, check.exact) == ("LSB", pytest.approx(1 / 3))
    assert check.within_one == pytest.approx(1 / 3)
    assert check.maximum == pytest.approx(255)
    assert "does not compute" in check.problems[0]


def test_indices_have_no_deviation(tmp_path):
    model = image_model(lambda x: ops.argmax(scores(x), -1), VECTOR)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    path = tmp_path / "model.tflite"
    quantized = quantize_aware(model, x)
    export.to_tflite(quantized, path)
    found = export.verify(quantized, path, x, original=model).from_original
    expected = np.mean(export.Runner(path).predict(x) != as_numpy(model(x)))
    assert found == pytest.approx(expected)
