"""What a file takes by layer, and budgets."""

import dataclasses
import json
import sys

import keras
import numpy as np
import pytest
from graphs import any_graph, random_graph, randomized
from structures import network, structures

from kbp import export, quantization, zoo
from kbp.errors import BoundError, UserError
from kbp.export import Budget, Footprint, footprint
from kbp.export.audit import weights
from kbp.export.memory import LayerSize
from kbp.export.parsing import parse
from kbp.export.runtimes import arena_size, micro

ENTRIES = [entry.name for entry in zoo.entries() if entry.has_weights]
TAKEN = Footprint(
    100_000,
    (LayerSize("stem", 1, 10, 40), LayerSize("head", 1, 9_000, 9_000)),
    {"CONV_2D": 2},
    *(40_000, "CONV_2D", "stem"),
    48_000,
    None,
)


def unread(content):
    """Return how many constants there are that no operation takes."""
    tree, count = parse(content), 0
    for graph in tree.subgraphs:
        taken = {int(i) for op in graph.operators for i in op.inputs}
        count += sum(
            weights(tensor, tree.buffers).size
            for i, tensor in enumerate(graph.tensors)
            if i not in taken
        )
    return count


def check(content):
    """Sums over layers must be what the audit and the file say."""
    taken, audit = footprint(content, measure=False), export.audit(content)
    assert taken.size == len(content)
    assert 0 < taken.rest < taken.size
    counted = sum(x.parameters for x in taken.layers)
    assert counted == audit.parameters - unread(content)
    assert sum(x.operations for x in taken.layers) == len(audit.operations)
    assert {x.name for x in taken.layers} == {
        operation.layer for operation in audit.operations
    }
    for name, count in taken.operations.items():
        assert count == sum(op.name == name for op in audit.operations)
    return taken


@pytest.mark.parametrize("name", ENTRIES)
def test_published_files_are_the_sum_of_their_layers(name):
    taken = check(zoo.file(name).read_bytes())
    assert sum(x.size for x in taken.layers) > 0.3 * taken.size


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_random_graphs_are_the_sum_of_their_layers(seed, tmp_path):
    for make in (random_graph, any_graph):
        path = tmp_path / "model.tflite"
        export.to_tflite(make(seed), path)
        check(path.read_bytes())


@pytest.mark.long
@pytest.mark.parametrize("name", structures())
def test_each_weight_is_counted_at_its_own_layer(name, tmp_path):
    path = tmp_path / "model.tflite"
    model = randomized(network(structures()[name]), np.random.default_rng(0))
    export.to_tflite(model, path)
    sizes = {x.name: x for x in check(path.read_bytes()).layers}
    kernel, bias = (w.shape for w in model.get_layer("head").weights)
    assert sizes["head"].parameters == np.prod(kernel) + np.prod(bias)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_bytes_of_a_layer_follow_its_type(dtype, tmp_path):
    model = randomized(
        keras.Sequential(
            [keras.Input((64,)), keras.layers.Dense(128, name="wide")]
        ),
        np.random.default_rng(0),
    )
    if dtype == "int8":
        x = np.random.default_rng(0).normal(size=(32, 64)).astype("float32")
        model = quantization.quantize(model, x)
    path = tmp_path / "model.tflite"
    export.to_tflite(model, path, dtype=dtype)
    (wide,) = check(path.read_bytes()).layers
    kernel, bias = {"float32": (4, 4), "float16": (2, 2), "int8": (1, 4)}[dtype]
    assert wide.size == 64 * 128 * kernel + 128 * bias


def test_a_record_of_a_footprint_reads_back():
    text = json.dumps(dataclasses.asdict(TAKEN))
    assert Footprint.from_dict(json.loads(text)) == TAKEN


def test_memory_is_measured_where_it_can_be(monkeypatch):
    path = zoo.file(zoo.DEFAULT)
    monkeypatch.setattr(micro, "missing", lambda: None)
    room = sys.modules["kbp.export.memory.footprint"]  # not the function
    monkeypatch.setattr(room, "arena_size", lambda file: 12_345)
    assert footprint(path).memory == 12_345
    assert footprint(path, measure=False).measured is None

    def refuse(file):
        raise UserError("it lacks an operation")

    monkeypatch.setattr(room, "arena_size", refuse)
    taken = footprint(path)
    assert taken.measured is None
    assert taken.memory == taken.planned > 0


@pytest.mark.slow
def test_measured_memory_is_that_of_tflite_micro():
    pytest.importorskip("tflite_micro", reason="needs kbp[micro]")
    path = zoo.file(zoo.DEFAULT)
    assert footprint(path).measured == arena_size(path)


@pytest.mark.parametrize(
    ("text", "flash", "ram"),
    [
        ("256kB:flash,64kB:ram", 256_000, 64_000),
        ("64KiB:ram, 1MiB:flash", 1_048_576, 65_536),
        ("1.5MB:flash", 1_500_000, None),
        ("100B:ram", None, 100),
    ],
)
def test_budgets_are_read(text, flash, ram):
    assert Budget.parse(text) == Budget(flash, ram)


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "256kB", "256:flash", "kB:flash", "-1kB:ram", "1 kB:ram"),
        *("256kb:flash", "256K:flash", "256kB:rom", "256kB:FLASH", "1e3kB:ram"),
        *("1kB:ram,2kB:ram", "1kB:ram;2kB:flash", "1kB:ram,", "٣kB:ram"),
        *("1,5kB:ram", "nankB:ram", "infkB:ram", f"{'9' * 400}kB:ram"),
    ],
)
def test_malformed_budgets_are_refused_in_one_line(text):
    with pytest.raises(UserError, match=r"256kB:flash,64kB:ram") as error:
        Budget.parse(text)
    assert not isinstance(error.value, BoundError)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("100kB:flash,48kB:ram", ()),
        ("99.9kB:flash", ("99,900", "largest layer is head (9,000)")),
        ("47kB:ram", ("48,000", "47,000", "CONV_2D of stem (40,000)")),
        ("1B:flash,1B:ram", ("largest layer is head", "CONV_2D of stem")),
        ("1B:flash", ("are no weights but tables and texts",)),
    ],
)
def test_what_breaks_a_budget_is_named(text, words):
    if not words:
        Budget.parse(text).check(TAKEN, "a.tflite")
        return
    with pytest.raises(BoundError, match=r"a\.tflite is over") as error:
        Budget.parse(text).check(TAKEN, "a.tflite")
    for word in words:
        assert word in str(error.value)


def test_a_file_over_its_budget_is_not_written(tmp_path):
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(128, name="wide")]
    )
    path = tmp_path / "model.tflite"
    with pytest.raises(BoundError, match="largest layer is wide"):
        export.to_tflite(model, path, budget="10kB:flash")
    with pytest.raises(BoundError, match="10,000 are given"):
        export.to_tflite(model, path, budget=export.Budget(flash=10_000))
    with pytest.raises(UserError, match="a budget is SIZE:flash"):
        export.to_tflite(model, path, budget="10 kB")
    assert not [*tmp_path.iterdir()]
    export.to_tflite(model, path, budget="40kB:flash,10kB:ram")
    assert path.is_file()


def test_damaged_files_are_refused_and_nothing_worse(tmp_path):
    path = tmp_path / "model.tflite"
    inputs = keras.Input((6, 4))
    x = keras.layers.LSTM(3)(inputs)
    export.to_tflite(keras.Model(inputs, x), path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    read = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        try:
            footprint(bytes(damaged), measure=False)
            read += 1
        except ValueError as error:
            assert "damaged" in str(error)  # noqa: PT017
    assert 10 < read < 150
