"""Other runtimes against XNNPACK at one thread."""

import re
from pathlib import Path

import graphs
import keras
import numpy as np
import pytest

from kbp import export, zoo
from kbp.errors import UserError
from kbp.export.audit import audit
from kbp.export.interpreter import allocate
from kbp.export.packing import pack
from kbp.export.parsing import parse
from kbp.export.runtimes import RUNTIMES, Runtime
from kbp.export.runtimes.calls import outputs_of
from kbp.inference import golden
from kbp.quantization import quantize

DIGITS, SERIES = zoo.DEFAULT, "bp_transformer_small.etth1_96"


@pytest.fixture
def register(monkeypatch):
    """Add runtimes for one test."""
    _ = [*RUNTIMES]  # the others are there first

    def add(name, run, **attributes):
        members = {"version": "0", "run": staticmethod(run), **attributes}
        monkeypatch.setitem(
            RUNTIMES._objects, name, type("Other", (Runtime,), members)()
        )

    return add


def inputs_of(name):
    return golden.inputs_for(zoo.file(name))


@pytest.mark.parametrize("name", [DIGITS, SERIES])
def test_threads_change_nothing_and_reference_kernels_one_step(name):
    threads, reference = export.verify_runtimes(
        zoo.file(name), inputs_of(name), ["litert", "reference"]
    )
    assert (threads.exact, threads.is_near) == (1.0, True)
    assert threads.operations == ()
    assert reference.within_one >= 0.99
    assert reference.unit == "LSB"


@pytest.mark.parametrize("name", ["micro", "web"])
@pytest.mark.parametrize("entry", [DIGITS, SERIES])
def test_other_runtimes_are_within_a_step(name, entry):
    if reason := RUNTIMES[name].missing():
        pytest.skip(reason)
    (found,) = export.verify_runtimes(zoo.file(entry), inputs_of(entry), [name])
    assert found.is_near
    assert found.maximum <= 1
    assert all(x.maximum <= 1 for x in found.operations)


@pytest.mark.long
def test_reference_kernels_run_what_is_registered_for_an_older_version():
    """DEPTH_TO_SPACE has one kernel, whatever the version."""
    name = "pyramid_bpnet_small.dsb2018"
    path = zoo.file(name)
    assert "DEPTH_TO_SPACE" in {op.name for op in audit(path).operations}
    (found,) = export.verify_runtimes(path, inputs_of(name), ["reference"])
    assert "DEPTH_TO_SPACE" not in {x.operation for x in found.operations}
    assert all(x.maximum <= 1 for x in found.operations)


def other(change):
    """Return a runtime that computes what a change of the file does."""

    def run(content, calls):
        tree = parse(content)
        change(tree)
        return outputs_of(allocate(pack(tree)), calls)

    return run


def move_bias(layer, steps):
    """Return a change of an operation's bias, by steps of its output."""

    def change(tree):
        graph = tree.subgraphs[0]
        names = audit(zoo.file(DIGITS)).operations
        (place,) = [i for i, x in enumerate(names) if x.layer == layer]
        operator = graph.operators[place]
        bias, output = operator.inputs[2], operator.outputs[0]
        scales = graph.tensors[bias].quantization.scale
        moved = steps * graph.tensors[output].quantization.scale[0] / scales
        buffer = tree.buffers[graph.tensors[bias].buffer]
        values = np.asarray(buffer.data, "uint8").view("int32")
        buffer.data = (values + np.round(moved).astype("int32")).view("uint8")

    return change


@pytest.mark.parametrize("layer", ["scale0_coarse_relu", "fusion_norm_1"])
def test_an_altered_operation_is_found(layer, register):
    register("altered", other(move_bias(layer, 3)))
    (found,) = export.verify_runtimes(
        zoo.file(DIGITS), inputs_of(DIGITS), ["altered"]
    )
    assert found.exact < 1
    assert [x.layer for x in found.operations] == [layer]
    assert found.first == found.worst
    assert found.first.operation == "CONV_2D"
    assert 3 <= found.first.maximum <= 4  # as roundings fall
    assert found.first.share > 0.1


def test_a_small_change_of_an_operation_before_the_worst_is_the_first(register):
    def change(tree):
        move_bias("scale0_coarse_relu", 1)(tree)
        move_bias("fusion_norm_1", 9)(tree)

    register("altered", other(change))
    (found,) = export.verify_runtimes(
        zoo.file(DIGITS), inputs_of(DIGITS), ["altered"]
    )
    assert found.first.layer == "scale0_coarse_relu"
    assert found.worst.layer == "fusion_norm_1"
    assert not found.is_near


def moved(steps):
    """Return a runtime that answers some steps above what is right."""

    def run(content, calls):
        found = outputs_of(allocate(content), calls)
        return [
            [x + np.asarray(steps, x.dtype) for x in call] for call in found
        ]

    return run


@pytest.mark.parametrize(("steps", "near"), [(0, True), (1, True), (2, False)])
def test_differences_are_counted_in_steps(steps, near, register):
    register("moved", moved(steps))
    (found,) = export.verify_runtimes(
        zoo.file(DIGITS), inputs_of(DIGITS), ["moved"]
    )
    assert (found.outputs, found.maximum, found.mean) == (40, steps, steps)
    assert found.exact == (steps == 0)
    assert found.within_one == (steps < 2)
    assert found.is_near == near


@pytest.mark.parametrize("steps", [0.5, 1, 2])
def test_a_step_of_floats_is_that_of_the_integers_behind_them(steps, register):
    """Each window has its own unit, in which it was standardized."""
    path = zoo.file(SERIES)
    (scale,) = {
        tensor.quantization.scale[0]
        for tensor in parse(path.read_bytes()).subgraphs[0].tensors
        if tensor.name.endswith(b"highway_1/Tensordot")
        and tensor.quantization.scale is not None
    }

    def run(content, calls):
        found = outputs_of(allocate(content), calls)
        units = [np.std(x, axis=1, keepdims=True) for (x,) in calls]
        return [
            [x + (steps * scale * unit).astype("float32")]
            for (x,), unit in zip(found, units, strict=True)
        ]

    register("moved", run)
    (found,) = export.verify_runtimes(path, inputs_of(SERIES), ["moved"])
    assert found.unit == "LSB"
    np.testing.assert_allclose([found.maximum, found.mean], steps, rtol=0.01)
    assert found.within_one == (steps < 1.5)


def test_a_runtime_that_cannot_run_says_so_unless_it_was_named(register):
    def run(content, calls):
        raise ValueError("It has no operation ADD.")

    register("broken", run)
    register("absent", run, missing=lambda self: "pip install absent")
    path, inputs = zoo.file(DIGITS), inputs_of(DIGITS)
    reasons = {x.runtime: x for x in export.verify_runtimes(path, inputs)}
    assert reasons["broken"].reason == "It has no operation ADD."
    assert reasons["absent"].reason == "pip install absent"
    assert reasons["broken"].is_near
    with pytest.raises(UserError, match=r"int8\.tflite: broken: It has no"):
        export.verify_runtimes(path, inputs, ["litert", "broken"])
    with pytest.raises(UserError, match=r"^pip install absent$"):
        export.verify_runtimes(path, inputs, ["litert", "absent"])


def test_an_operation_that_micro_lacks_is_named_with_its_layer(tmp_path):
    if reason := RUNTIMES["micro"].missing():
        pytest.skip(reason)
    inputs = keras.Input((8,))
    x = keras.layers.Dense(6, activation="gelu", name="bend")(inputs)
    path = tmp_path / "model.tflite"
    export.to_tflite(keras.Model(inputs, keras.layers.Dense(3)(x)), path)
    with pytest.raises(UserError, match=r"no operation GELU \(layer bend\)"):
        export.verify_runtimes(path, np.ones((1, 8), "float32"), ["micro"])


@pytest.mark.parametrize(
    ("names", "inputs", "words"),
    [
        (["litrt"], np.zeros((1, 32, 32, 1)), "did you mean 'litert'"),
        ("litert", np.zeros((1, 32, 32, 1)), "must be a list of names"),
        (["litert"], np.zeros((0, 32, 32, 1)), "must hold examples"),
        (["litert"], np.zeros((1, 8, 8, 1)), "batch, 32, 32, 1"),
    ],
)
def test_wrong_arguments_are_refused(names, inputs, words):
    with pytest.raises(ValueError, match=words):
        export.verify_runtimes(zoo.file(DIGITS), inputs, names)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(FileNotFoundError, match="no such file"):
        export.verify_runtimes(path, np.zeros(1))
    path.write_bytes(b"no model at all")
    with pytest.raises(ValueError, match=r"not a \.tflite"):
        export.verify_runtimes(path, np.zeros(1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("graph", "shape"),
    [(graphs.random_graph, (8, 8, 3)), (graphs.any_graph, (12, 12, 3))],
)
def test_each_operation_of_random_networks_is_within_a_step(
    graph, shape, seed, tmp_path
):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(16, *shape)).astype("float32")
    path = tmp_path / "model.tflite"
    export.to_tflite(quantize(graph(seed), x), path)
    names = ["litert", "reference"]
    lacks = {op.name for op in audit(path).operations} & {"GELU"}
    if not RUNTIMES["micro"].missing() and not lacks:
        names.append("micro")
    threads, *others = export.verify_runtimes(path, x[:4], names)
    assert threads.exact == 1
    for found in others:
        assert all(op.maximum <= 1 for op in found.operations)
        assert bool(found.operations) == (found.exact < 1)


def test_page_of_the_docs_says_how_near_runtimes_are(capsys):
    page = Path(__file__).parents[2] / "docs" / "runtimes.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["threads"].is_near
    assert names["reference"].is_near
    assert capsys.readouterr().out.startswith("100% the same on several")
