"""Files for inference: written whole, looked into, compared, measured."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import export
from kbp.export.files import write_atomically
from kbp.quantization import quantize_aware


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = kbp.models.PyramidBPNet((8, 8, 1), 4, width=16)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:  # no bias is zero, no two are equal
        weight.assign_add(rng.normal(0, 0.05, weight.shape))
    return model


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((10, 8, 8, 1), "float32")


@pytest.fixture(scope="module")
def quantized(model, x):
    return quantize_aware(model, [x])


@pytest.fixture(scope="module")
def files(model, quantized, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    export.to_tflite(model, folder / "float.tflite")
    export.to_tflite(quantized, folder / "int8.tflite")
    return folder / "float.tflite", folder / "int8.tflite"


def test_audit_tells_types_and_counts(files, model):
    whole, small = (export.audit(path) for path in files)
    assert all(op.is_float for op in whole.operations if op.name == "CONV_2D")
    assert not small.float_operations
    assert {"CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "ADD"} <= {
        op.name for op in small.operations
    }
    assert small.size == files[1].stat().st_size
    # BatchNormalization folds: its four vectors become one bias each.
    norms = [w for w in model.weights if "norm" in w.path]
    folded = sum(as_numpy(w).size for w in norms) * 3 // 4
    for audit in (whole, small):
        assert audit.parameters == model.count_params() - folded
    assert "scale0_pool" in " ".join(op.layer for op in small.operations)


def test_float_operation_is_an_error_that_names_it(files):
    with pytest.raises(ValueError, match=r"float by accident: CONV_2D at .*"):
        export.audit(files[0], allow_float=[])
    names = {op.name for op in export.audit(files[0]).operations}
    export.audit(files[0], allow_float=sorted(names))


def test_float_layer_stops_the_export_before_a_file_is_written(
    quantized, tmp_path
):
    outputs = keras.layers.LayerNormalization(name="odd")(quantized.output)
    model = keras.Model(quantized.input, outputs)
    path = tmp_path / "model.tflite"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match=r"float by accident.*odd"):
        export.to_tflite(model, path)
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]


def test_verification_of_both_files(files, model, quantized, x):
    check = export.verify(model, files[0], [x])
    assert (check.unit, check.outputs) == ("float", 40)
    assert check.maximum < 1e-5
    check = export.verify(quantized, files[1], [(x[:4], None), (x[4:], None)])
    assert (check.unit, check.outputs) == ("LSB", 40)
    assert check.within_one == 1


def test_verification_sees_a_wrong_model(files, x):
    keras.utils.set_random_seed(1)
    other = kbp.models.PyramidBPNet((8, 8, 1), 4, width=16)
    assert export.verify(other, files[0], [x]).within_one < 0.5
    assert export.verify(other, files[1], [x]).maximum > 1


def test_file_of_another_batch_size_gives_the_same(
    quantized, files, x, tmp_path
):
    export.to_tflite(quantized, tmp_path / "four.tflite", batch_size=4)
    runner = export.Runner(tmp_path / "four.tflite")
    np.testing.assert_array_equal(
        runner.predict_raw(x), export.Runner(files[1]).predict_raw(x)
    )
    assert runner.predict(x).dtype == np.float32


def test_inputs_beyond_the_range_saturate(files):
    runner = export.Runner(files[1])
    huge, one = (np.full((1, 8, 8, 1), v, "float32") for v in (1e6, 1.0))
    np.testing.assert_array_equal(
        runner.quantize_input(huge), runner.quantize_input(one)
    )


def test_benchmark_measures_every_file(files):
    figures = export.benchmark(files, rounds=5, seconds=0.002)
    assert [f.path for f in figures] == [str(p) for p in files]
    for figure in figures:
        assert 0 < figure.low <= figure.median <= figure.high < 1000


def test_no_file_and_wrong_file_are_named(tmp_path):
    path = tmp_path / "model.tflite"
    for function in (export.audit, export.Runner):
        with pytest.raises(FileNotFoundError, match=r"model.tflite"):
            function(path)
    path.write_bytes(b"not a model at all")
    with pytest.raises(ValueError, match=r"not a \.tflite file"):
        export.audit(path)
    with pytest.raises(ValueError, match=r"not a \.tflite file"):
        export.Runner(path)


def test_damaged_file_is_named(files, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(files[0].read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        export.audit(path)


@pytest.mark.parametrize("dtype", ["int4", "float32"])
def test_dtype_that_does_not_fit_is_refused(quantized, tmp_path, dtype):
    with pytest.raises(ValueError, match=r"dtype|quantization-aware"):
        export.to_tflite(quantized, tmp_path / "m.tflite", dtype=dtype)
    assert not list(tmp_path.iterdir())


def test_int8_of_a_float_model_says_what_to_do(model, tmp_path):
    with pytest.raises(ValueError, match=r"quantize_aware first"):
        export.to_tflite(model, tmp_path / "m.tflite", dtype="int8")


def test_dynamic_size_is_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)]
    )
    with pytest.raises(ValueError, match="has no fixed size"):
        export.to_tflite(model, tmp_path / "m.tflite")


def test_verify_without_data_is_refused(model, files):
    with pytest.raises(ValueError, match="hold no batch"):
        export.verify(model, files[0], [])


def test_saved_model_never_replaces_a_folder(model, tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="Choose another folder"):
        export.to_saved_model(model, tmp_path / "saved")
    assert (tmp_path / "saved" / "mine.txt").read_text() == "mine"


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
