"""What the inputs of a .tflite file can hold."""

import keras
import numpy as np
import pytest
from keras import layers

from kbp import export
from kbp.quantization import quantize

IDS = np.random.default_rng(0).integers(0, 10, (40, 4))
ROWS = np.random.default_rng(1).normal(size=(40, 4)).astype("float32")


def written(path, model, data, **options):
    export.to_tflite(quantize(model, data), path, **options)
    return export.Runner(path)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    ids = keras.Input((4,), dtype="int32", name="tokens")
    x = layers.Flatten()(layers.Embedding(10, 3)(ids))
    model = keras.Model(ids, layers.Dense(2)(x))
    return written(tmp_path_factory.mktemp("a") / "a.tflite", model, IDS)


def dense():
    rows = keras.Input((4,), name="rows")
    return keras.Model(rows, layers.Dense(2)(rows))


@pytest.mark.parametrize("kind", ["int64", "int16", "float64", "float32"])
def test_whole_numbers_of_any_type_are_taken(reader, kind):
    expected = reader.predict(IDS.astype("int32"))
    np.testing.assert_array_equal(reader.predict(IDS.astype(kind)), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        IDS + 2**32,
        IDS - 2**33,
        IDS + 0.7,
        IDS + 2.0**40,
        IDS.astype("uint64") + 2**63,
        np.where(IDS < 9, IDS, np.nan),
        np.where(IDS < 9, IDS, np.inf),
    ],
    ids=range(7),
)
def test_numbers_that_no_integer_holds_are_refused(reader, wrong):
    with pytest.raises(ValueError, match="tokens must be whole numbers from"):
        reader.predict(wrong)


@pytest.mark.parametrize("wrong", [10, 2**30, -20])
def test_an_index_without_a_row_is_refused(reader, wrong):
    ids = np.where(np.arange(160).reshape(40, 4) == 70, wrong, IDS)
    with pytest.raises(ValueError, match="an index for which the file's table"):
        reader.predict(ids)


@pytest.mark.parametrize("input_dtype", [None, "float32"])
def test_nan_is_refused_by_whatever_computes_in_integers(input_dtype, tmp_path):
    path = tmp_path / "a.tflite"
    runner = written(path, dense(), ROWS, input_dtype=input_dtype)
    assert np.isfinite(runner.predict(ROWS)).all()
    rows = ROWS.copy()
    rows[17, 2] = np.nan
    with pytest.raises(ValueError, match="Values of rows are NaN"):
        runner.predict(rows)
    rows[17, 2] = np.inf  # the largest number that there is
    assert np.isfinite(runner.predict(rows)).all()


def test_a_float_file_answers_nan_with_nan(tmp_path):
    export.to_tflite(dense(), tmp_path / "a.tflite")
    rows = ROWS.copy()
    rows[17, 2] = np.nan
    outputs = export.Runner(tmp_path / "a.tflite").predict(rows)
    assert np.isnan(outputs[17]).all()
    assert np.isfinite(np.delete(outputs, 17, axis=0)).all()
