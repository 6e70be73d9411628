"""Networks as sums of operations that were measured one by one."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import kbp
from kbp import export
from kbp.errors import UserError
from kbp.export.interpreter import allocate
from kbp.export.latency import cache
from kbp.export.latency.table import exported
from kbp.export.latency.times import OperationTimes, shortest

layers = keras.layers


@pytest.fixture(scope="module")
def model():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Add()([x, layers.Conv2D(16, 1, name="beside")(x)])
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(x))


@pytest.fixture(scope="module")
def table(model):
    return export.latency_table(model, rounds=2, cache=None)


@pytest.mark.long
def test_operations_are_those_of_the_file(model, table, tmp_path):
    audit = export.to_tflite(model, tmp_path / "model.tflite")
    assert [x.name for x in table.operations] == [
        x.name for x in audit.operations
    ]
    assert table.dtype == "float32"
    (dense,) = (x for x in table.operations if x.name == "FULLY_CONNECTED")
    assert dense.layer == "classes"
    assert dense.times.inputs[-1] == 16
    assert dense.times.outputs[-1] == 4


def test_every_operation_with_channels_names_its_layer(model, table):
    named = {x.layer for x in table.operations if x.times.outputs[-1]}
    assert named <= {layer.name for layer in model.layers}
    assert {"depthwise", "beside", "classes"} <= named


def test_times_are_interpolated_and_rise():
    times = OperationTimes((8, 16), (4, 8), ((1.0, 2.0), (3.0, 6.0)))
    expected = [1.0, 6.0, 3.0, 1.0, 6.0]
    found = times.at([8, 16, 12, 1, 99], [4, 8, 6, 1, 99])
    np.testing.assert_allclose(found, expected)
    assert times.at(12, 8) == pytest.approx(4.0)
    assert OperationTimes((8,), (8,), ((2.0,),)).at(4, 4) == 2.0


@pytest.mark.long
def test_operations_of_attention_take_what_is_left_of_its_heads():
    model = kbp.models.BPTransformer(
        (24, 2), 8, head="forecasting", patch_size=4, width=16
    )
    found = export.latency_table(model, rounds=1, cache=None)
    inside = [
        operation
        for operation in found.operations
        if operation.name in ("BATCH_MATMUL", "SOFTMAX")
    ]
    assert inside
    for operation in inside:
        assert operation.layer.endswith(("_query", "_value"))
        half, whole = operation.times.at([0, 0], [8, 16])
        assert whole == pytest.approx(operation.milliseconds)
        assert half == pytest.approx(whole / 2)


def test_what_is_in_proportion_to_channels():
    times = OperationTimes((0,), (0,), ((3.0,),)).in_proportion(12)
    np.testing.assert_allclose(times.at([0] * 3, [0, 4, 12]), [0.0, 1.0, 3.0])


def test_measured_times_never_fall_with_more_channels(table):
    for operation in table.operations:
        times = np.array(operation.times.milliseconds)
        assert (np.diff(times, axis=0) >= 0).all()
        assert (np.diff(times, axis=1) >= 0).all()


def test_networks_are_interpolated_between_those_that_were_measured(table):
    assert table.sums[0] == table.wholes[0] == 0.0
    assert len(table.sums) == len(table.wholes) == 7
    assert (np.diff(table.sums) >= 0).all()
    assert (np.diff(table.wholes) >= 0).all()
    assert table.wholes[-1] >= table.milliseconds
    known = dataclasses.replace(
        table, sums=(0.0, 1.0, 3.0), wholes=(0.0, 2.0, 3.0)
    )
    found = known.whole([0.5, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(found, [1.0, 2.0, 2.5, 3.0])


def test_the_whole_network_is_predicted_as_it_was_measured(model, table):
    # A smaller one that took longer, by other work on the machine, counts.
    assert table.predict(model) == table.wholes[-1]


@pytest.mark.long
def test_fewer_channels_are_predicted_to_take_less(model):
    small = export.latency_table(model, dtype="int8", rounds=2, cache=None)
    masked = kbp.sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    for layer in kbp.sparsity.masked_layers(masked):
        layer.kernel.assign(np.arange(layer.kernel.shape[0]) < 8)
    shrunk = kbp.sparsity.shrink(masked)
    assert shrunk.count_params() < model.count_params()
    assert small.predict(shrunk) <= small.predict(model)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_tables_of_indices_are_timed_with_rows_that_they_have(dtype):
    indices = keras.Input((6,), dtype="int32")
    x = layers.Dense(8)(layers.Embedding(5, 8)(indices))
    model = keras.Model(indices, layers.GlobalAveragePooling1D()(x))
    found = export.latency_table(model, dtype=dtype, rounds=1, cache=None)
    assert "GATHER" in {x.name for x in found.operations}


def test_a_table_is_kept_as_json(table, tmp_path):
    path = tmp_path / "table.json"
    table.save(path)
    assert export.LatencyTable.load(path) == table
    for content in ("", "[]", '{"dtype": "float32", "operations": [1]}'):
        path.write_text(content)
        with pytest.raises(UserError, match="holds no table of latencies"):
            export.LatencyTable.load(path)


@pytest.mark.long
def test_what_was_measured_is_not_measured_again(model, tmp_path, monkeypatch):
    first = export.latency_table(model, rounds=1, cache=tmp_path)
    assert len([*tmp_path.iterdir()]) == 1
    monkeypatch.setattr(
        "kbp.export.latency.table.measured",
        lambda *arguments: pytest.fail("was measured before"),
    )
    again = export.latency_table(model, rounds=1, cache=tmp_path)
    assert again.operations == first.operations

    # Another number of threads, processor or LiteRT has times of its own.
    with pytest.raises(pytest.fail.Exception, match="measured before"):
        export.latency_table(model, rounds=1, cache=tmp_path, num_threads=2)
    monkeypatch.setattr(cache, "machine", lambda: {"processor": "another"})
    with pytest.raises(pytest.fail.Exception, match="measured before"):
        export.latency_table(model, rounds=1, cache=tmp_path)


@pytest.mark.long
def test_times_of_another_machine_are_refused(model, tmp_path):
    export.latency_table(model, rounds=1, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    content = json.loads(file.read_text())
    content["machine"]["processor"] = "another"
    file.write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=r"measured on another machine, .*other"
    ):
        export.latency_table(model, rounds=1, cache=tmp_path)
    for spoilt in ("", "{}", '{"machine": [], "operations": {}}'):
        file.write_text(spoilt)
        with pytest.raises(UserError, match="holds no measured operations"):
            export.latency_table(model, rounds=1, cache=tmp_path)


def test_wrong_arguments_are_refused(model):
    for options in ({"dtype": "int4"}, {"rounds": 0}, {"num_threads": 0}):
        with pytest.raises(ValueError, match="Argument"):
            export.latency_table(model, cache=None, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    # In integers enlarging takes most of the time, whatever the channels.
    ("dtype", "target"),
    [("float32", 0.5), ("int8", 0.1)],
)
def test_a_target_of_latency_is_met_by_the_written_file(dtype, target):
    keras.utils.set_random_seed(0)
    model = kbp.models.PyramidBPNet((32, 32, 3), 10, width=64)
    known = export.latency_table(model, dtype=dtype, cache=None)
    masked = kbp.sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    masked.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 32, 32, 3)), rng.integers(0, 10, 64)
    schedule = kbp.sparsity.DTMSchedule(
        target,
        measure="latency",
        table=known,
        budget="knapsack",
        multiple_of=8,
    )
    masked.fit(x, y, epochs=5, verbose=0, callbacks=[schedule])
    small = kbp.sparsity.shrink(masked, multiple_of=8)
    runs = [allocate(exported(m, dtype), 1) for m in (model, small)]
    whole, left = shortest(runs, 50)
    # As near as the table's predictions are.
    assert left / whole == pytest.approx(1 - target, rel=0.1)
