"""Files for inference: written whole, looked into, compared, measured."""

from pathlib import Path

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import export
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


@pytest.mark.long
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


def test_verification_by_the_reference_kernels_and_by_metrics(
    files, quantized, x
):
    labels = np.argmax(as_numpy(quantized(x)), axis=-1)
    labels[:3] = (labels[:3] + 1) % 4  # seven of ten are right
    metric = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    check = export.verify(
        quantized,
        files[1],
        [(x[:4], labels[:4]), (x[4:], labels[4:])],
        metrics=[metric],
        reference=True,
    )
    assert check.within_one == 1
    assert check.metrics == {"accuracy": pytest.approx((0.7, 0.7))}
    assert float(metric.result()) == 0  # reset
    with pytest.raises(ValueError, match="no targets"):
        export.verify(quantized, files[1], [x], metrics=[metric])


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


@pytest.mark.long
@pytest.mark.parametrize("input_dtype", ["uint8", "float32"])
def test_other_input_types_give_the_same(
    quantized, files, x, tmp_path, input_dtype
):
    path = tmp_path / "model.tflite"
    audit = export.to_tflite(quantized, path, input_dtype=input_dtype)
    runner = export.Runner(path)
    for details in (*runner.inputs, *runner.outputs):
        assert np.dtype(details["dtype"]) == input_dtype
    np.testing.assert_allclose(
        runner.predict(x), export.Runner(files[1]).predict(x), atol=1e-6
    )
    borders = {op.name for op in audit.float_operations}
    expected = {"QUANTIZE", "DEQUANTIZE"} if input_dtype == "float32" else set()
    assert borders == expected


def test_float16_halves_the_file(tmp_path):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(128)])
    whole, half = tmp_path / "whole.tflite", tmp_path / "half.tflite"
    export.to_tflite(model, whole)
    export.to_tflite(model, half, dtype="float16")
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    x = np.random.default_rng(0).random((10, 64), "float32")
    expected = as_numpy(model(x))
    found = export.Runner(half).predict(x)
    # 11 bits of a weight, in sums of 64.
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_operations_are_named_after_their_layers(tmp_path):
    inputs = keras.Input((6, 8))
    x = kbp.layers.SelfAttention(2, name="attention")(inputs)
    x = keras.layers.Dense(3, activation="tanh", name="head_1")(x + inputs)
    audit = export.to_tflite(keras.Model(inputs, x), tmp_path / "m.tflite")
    names = {op.layer for op in audit.operations}
    assert {"attention_query", "attention_softmax", "head_1"} <= names
    product = next(op for op in audit.operations if op.name == "BATCH_MATMUL")
    assert product.layer.startswith("attention_matmul")


def test_inputs_beyond_the_range_saturate(files):
    runner = export.Runner(files[1])
    huge, one = (np.full((1, 8, 8, 1), v, "float32") for v in (1e6, 1.0))
    np.testing.assert_array_equal(
        runner.quantize_inputs([huge]), runner.quantize_inputs([one])
    )


def test_benchmark_measures_every_file(files):
    figures = export.benchmark(
        files, num_threads=(1, 2), rounds=5, seconds=0.002
    )
    assert [(f.path, f.num_threads) for f in figures] == [
        (str(path), threads) for path in files for threads in (1, 2)
    ]
    for figure in figures:
        assert figure.size == Path(figure.path).stat().st_size
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


def test_wrong_arguments_are_named(files, model):
    for call, message in (
        (lambda: export.audit(files[0], allow_float="ADD"), "`allow_float`"),
        (lambda: export.benchmark(files[0]), "`paths` must be a list"),
        (lambda: export.benchmark(files, rounds=0), "`rounds` must be"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_damaged_file_is_named(files, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(files[0].read_bytes()[:100])
    with pytest.raises(ValueError, match="file is damaged"):
        export.audit(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int4"}, r"`dtype` must be one of.*'int4'"),
        ({"dtype": "float32"}, r"quantization-aware: export it as int8"),
        ({"dtype": "float16"}, r"the model it was made from as float16"),
        ({"input_dtype": "int16"}, r"`input_dtype` must be one of.*'int16'"),
        ({"batch_size": 0}, r"`batch_size` must be a whole.*0"),
    ],
)
def test_what_does_not_fit_is_refused(quantized, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export.to_tflite(quantized, tmp_path / "m.tflite", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "folder", "file/model.tflite"])
def test_where_no_file_can_be_is_said_in_one_line(name, model, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / name if name else ""
    with pytest.raises(ValueError, match=r"^.*(a folder\. Name a|is no fold)"):
        export.to_tflite(model, path)
    with pytest.raises(ValueError, match="file is no folder"):
        export.to_saved_model(model, tmp_path / "file" / "saved")


def test_int8_of_a_float_model_says_what_to_do(model, tmp_path):
    with pytest.raises(ValueError, match=r"quantize_aware first"):
        export.to_tflite(model, tmp_path / "m.tflite", dtype="int8")
    with pytest.raises(
        ValueError, match=r"must be 'float32' in a file of float32"
    ):
        export.to_tflite(model, tmp_path / "m.tflite", input_dtype="int8")


def test_dynamic_size_is_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)]
    )
    with pytest.raises(ValueError, match="has no fixed size"):
        export.to_tflite(model, tmp_path / "m.tflite")


@pytest.mark.parametrize("data", [[], [np.ones((0, 8, 8, 1))]])
def test_verify_without_data_is_refused(model, files, data):
    with pytest.raises(ValueError, match="data to verify with hold no batch"):
        export.verify(model, files[0], data)


def test_runner_gives_no_outputs_for_no_inputs(files):
    for file in files:
        outputs = export.Runner(file).predict(np.ones((0, 8, 8, 1)))
        assert outputs.shape == (0, 4)


def test_verify_passes_over_empty_batches(model, files):
    images = np.random.default_rng(1).random((2, 8, 8, 1), "float32")
    with_empty = [images[:0], images, images[:0]]
    assert export.verify(model, files[0], with_empty) == export.verify(
        model, files[0], [images]
    )


def test_saved_model_never_replaces_a_folder(model, tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="Choose another folder"):
        export.to_saved_model(model, tmp_path / "saved")
    assert (tmp_path / "saved" / "mine.txt").read_text() == "mine"


def test_bytes_do_not_depend_on_what_the_process_made_before(tmp_path):
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
    inputs = keras.Input((8, 8, 3), name="x")
    y = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    y = keras.layers.Flatten(name="flat")(y)
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(y), name="m")
    contents = []
    for name in ("first.tflite", "second.tflite"):
        export.to_tflite(quantize_aware(model, x), tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
