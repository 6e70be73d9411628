"""What files say of themselves, and that they compute as before."""

import dataclasses
import tomllib
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kbp import export, quantization, zoo
from kbp._utils.manifest import digest
from kbp.benchmarks.recipe.report import without_seed
from kbp.export.interpreter import quantize
from kbp.export.metadata.describing import describe
from kbp.export.metadata.schema import BUFFER
from kbp.recipes import Recipe

WHOLE = export.Metadata(
    "pets",
    inputs=(
        export.TensorInfo(
            "photo",
            "image",
            "A photograph.",
            axes=("height", "width", "channels"),
            mean=(0.0,),
            std=(255.0,),
            lowest=(0.0,),
            highest=(1.0,),
        ),
    ),
    outputs=(
        export.TensorInfo(
            "scores", description="Logits.", unit="logit", labels=("cat", "dög")
        ),
    ),
    description="Tells pets apart.",
    task="classification",
    license="Apache-2.0",
    author="A. Person",
    version="2",
    origin={"recipe": 'name = "x"', "versions": {"keras": "3"}},
    files={"columns.json": '{"a": 1}'},
)
TEXTS = ("name", "description", "task", "license", "author", "version")
DIGITS = dataclasses.replace(  # of ten classes
    WHOLE,
    outputs=(
        dataclasses.replace(
            WHOLE.outputs[0], labels=("cat", "dög", *map(str, range(8)))
        ),
    ),
)


def two_inputs():
    left = keras.Input((4,), name="left")
    right = keras.Input((3,), name="right")
    x = keras.layers.Concatenate()([left, right])
    score = keras.layers.Dense(2, name="score")(x)
    age = keras.layers.Dense(1, name="age_1")(x)
    return left, right, score, age


def models():
    left, right, score, age = two_inputs()
    yield keras.Model([left, right], [score, age]), ["score", "age_1"]
    left, right, score, age = two_inputs()
    ends = {"left": left, "right": right}, {"s": score, "a": age}
    yield keras.Model(*ends), ["a", "s"]
    yield (
        keras.Sequential(
            [keras.Input((4,), name="left"), keras.layers.Dense(2, name="d_2")]
        ),
        ["d_2"],
    )


MODELS = [*models()]


@pytest.mark.parametrize(("model", "outputs"), MODELS)
def test_files_take_and_give_tensors_by_the_models_names(
    model, outputs, tmp_path
):
    export.to_tflite(model, tmp_path / "a.tflite")
    folder = export.to_saved_model(model, tmp_path / "saved")
    x = {
        t.name: np.random.default_rng(i).normal(size=(1, t.shape[1]))
        for i, t in enumerate(model.inputs)
    }
    x = {name: value.astype("float32") for name, value in x.items()}
    given = model.inputs[0]
    if not isinstance(model, keras.Sequential):
        given = model.input
    right = keras.tree.flatten(
        model(keras.tree.pack_sequence_as(given, [*x.values()]))
    )
    interpreter = Interpreter(str(tmp_path / "a.tflite"))
    run = interpreter.get_signature_runner("serving_default")
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    tensors = {name: tf.constant(value) for name, value in x.items()}
    for found in (run(**x), served(**tensors)):
        assert sorted(found) == sorted(outputs)
        for name, value in zip(outputs, right, strict=True):
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)
    names = [d["name"] for d in interpreter.get_input_details()]
    assert names == [*x]


def test_descriptions_are_read_as_they_were_written(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    path = tmp_path / "a.tflite"
    export.to_tflite(model, path, metadata=WHOLE)
    found = export.Metadata.read(path)
    assert found.inputs[0].name == model.inputs[0].name
    assert found.outputs[0].labels == ("cat", "dög")
    content = describe(path.read_bytes(), WHOLE)
    path.write_bytes(content)
    assert export.Metadata.read(path) == WHOLE
    assert describe(content, WHOLE) == content
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode() == "cat\ndög\n"
        assert archive.read("columns.json").decode() == '{"a": 1}'


def test_descriptions_in_another_order_are_matched_by_name(tmp_path):
    first, second = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    joined = keras.layers.Concatenate()([first, second])
    model = keras.Model([first, second], keras.layers.Dense(1)(joined))
    said = (
        export.TensorInfo("b", unit="volts"),
        export.TensorInfo("a", unit="metres"),
    )
    path = tmp_path / "a.tflite"
    export.to_tflite(model, path, metadata=export.Metadata("two", inputs=said))
    units = {x.name: x.unit for x in export.Metadata.read(path).inputs}
    assert units == {"a": "metres", "b": "volts"}


def test_standard_tables_hold_names_and_normalization():
    content = describe(zoo.file(zoo.DEFAULT).read_bytes(), DIGITS)
    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    (entry,) = [x for x in tree.metadata if x.name == BUFFER.encode()]
    data = tree.buffers[entry.buffer].data.tobytes()
    assert data[4:8] == b"M001"
    for text in ("pets", "photo", "scores", "labels.txt", "columns.json"):
        assert text.encode() + b"\0" in data, text
    assert np.float32(255.0).tobytes() in data


def test_described_files_compute_the_same():
    before = zoo.file(zoo.DEFAULT).read_bytes()
    after = describe(before, DIGITS)
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 1))
    found = []
    for content in (before, after):
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()[0]
        interpreter.set_tensor(details["index"], (30 * x).astype("int8"))
        interpreter.invoke()
        place = interpreter.get_output_details()[0]["index"]
        found.append(interpreter.get_tensor(place))
    np.testing.assert_array_equal(*found)


def test_buffers_begin_at_multiples_of_sixteen_bytes():
    content = describe(zoo.file(zoo.DEFAULT).read_bytes(), DIGITS)
    model = schema.Model.GetRootAs(content, 0)
    places = [
        model.Buffers(i)._tab.Vector(model.Buffers(i)._tab.Offset(4))
        for i in range(model.BuffersLength())
        if model.Buffers(i).DataLength()
    ]
    assert len(places) > 10
    assert all(place % 16 == 0 for place in places)


def test_wrong_numbers_of_tensors_are_refused(tmp_path):
    model, _ = MODELS[0]
    with pytest.raises(ValueError, match="must describe the 2 inputs"):
        export.to_tflite(model, tmp_path / "a.tflite", metadata=WHOLE)
    assert not [*tmp_path.iterdir()]


def test_damaged_descriptions_are_named(tmp_path):
    path = tmp_path / "a.tflite"
    content = describe(zoo.file(zoo.DEFAULT).read_bytes(), DIGITS)
    path.write_bytes(content.replace(b'"inputs"', b'"inputz"'))
    assert path.read_bytes() != content
    # The archive's checksum tells, or the missing key.
    with pytest.raises(ValueError, match="damaged"):
        export.Metadata.read(path)


def test_a_file_that_ends_early_has_no_whole_description():
    content = describe(zoo.file(zoo.DEFAULT).read_bytes(), DIGITS)
    begin = content.index(b"PK\x03\x04")
    for end in np.linspace(begin + 60, len(content) - 1, 20).astype(int):
        with pytest.raises(ValueError, match="damaged"):
            export.Metadata.of(content[:end])


def test_files_of_others_have_no_description():
    content = zoo.file(zoo.DEFAULT).read_bytes()
    assert export.Metadata.of(content).name == zoo.DEFAULT
    bare = content[: content.index(b"PK\x03\x04")]
    assert export.Metadata.of(bare) is None


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"mean": (1.0,)}, "for each `mean`"),
        ({"mean": (1.0,), "std": (0.0,)}, "for each `mean`"),
        ({"mean": (1.0,), "std": 2.0}, "`std` .* numbers"),
        ({"highest": ("1",)}, "`highest` .* numbers"),
        ({"labels": (1, 2)}, "`labels` .* texts"),
        ({"labels": "cat"}, "`labels` .* tuple of texts"),
        ({"labels": ("a cat\nsat", "dog")}, "one line each"),
        ({"unit": 3}, "`unit` .* text"),
        ({"kind": "picture"}, "Argument `kind`"),
    ],
)
def test_what_no_tensor_is_like_is_refused(facts, words):
    with pytest.raises(ValueError, match=words):
        export.TensorInfo("x", **facts)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        *(({key: 3}, f"`{key}` .* text") for key in TEXTS),
        ({"inputs": export.TensorInfo("x")}, "`inputs` .* tuple of"),
        ({"outputs": ("x",)}, "`outputs` .* tuple of"),
        ({"origin": "recipe"}, "`origin` .* dictionary"),
        ({"files": ["labels.txt"]}, "`files` .* dictionary"),
        ({"files": {"a.txt": b"a"}}, "texts by their names"),
        ({"files": {"kbp.json": "{}"}}, "must not hold 'kbp.json'"),
        (
            {
                "outputs": (export.TensorInfo("x", labels=("a", "b")),),
                "files": {"labels.txt": "c\nd\n"},
            },
            "must not hold 'labels.txt'",
        ),
    ],
)
def test_a_description_that_could_not_be_read_again_is_refused(facts, words):
    with pytest.raises(ValueError, match=words):
        export.Metadata(**{"name": "x", **facts})


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ([], [{"labels": ("cat", "dog")}], "2 labels for scores"),
        ([{"mean": (1.0, 2.0), "std": (1.0, 1.0)}], [], "2 values of `mean`"),
        ([{"lowest": (0.0,) * 5}], [], "5 values of `lowest`"),
    ],
)
def test_descriptions_that_do_not_fit_the_tensors_are_refused(
    inputs, outputs, words
):
    metadata = export.Metadata(
        "x",
        tuple(export.TensorInfo("photo", **facts) for facts in inputs),
        tuple(export.TensorInfo("scores", **facts) for facts in outputs),
    )
    content = zoo.file(zoo.DEFAULT).read_bytes()
    with pytest.raises(ValueError, match=words):
        describe(content, metadata, ["photo"], ["scores"])


def test_one_name_of_two_that_is_misspelled_is_refused(tmp_path):
    model, _ = MODELS[0]
    said = (export.TensorInfo("left"), export.TensorInfo("rihgt"))
    metadata = export.Metadata("two", inputs=said)
    with pytest.raises(ValueError, match=r"the inputs \[.left., .right"):
        export.to_tflite(model, tmp_path / "a.tflite", metadata=metadata)
    assert not [*tmp_path.iterdir()]


def test_texts_that_are_too_large_are_refused():
    metadata = export.Metadata("x", files={"a.txt": "a" * 10_000_001})
    with pytest.raises(ValueError, match="at most 10,000,000"):
        describe(zoo.file(zoo.DEFAULT).read_bytes(), metadata, ["a"], ["b"])


def tables(content):
    """Return operations with their options, and tensors with their weights."""
    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    codes = [
        max(code.builtinCode, code.deprecatedBuiltinCode)
        for code in tree.operatorCodes
    ]
    operations = [
        (
            codes[x.opcodeIndex],
            [*x.inputs],
            [*x.outputs],
            vars(x.builtinOptions) if x.builtinOptions else None,
        )
        for graph in tree.subgraphs
        for x in graph.operators
    ]
    tensors = [
        (
            x.type,
            x.shape,
            tree.buffers[x.buffer].data,
            x.quantization and vars(x.quantization),
        )
        for graph in tree.subgraphs
        for x in graph.tensors
    ]
    return operations, tensors


def outputs(content, inputs):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    (given,) = interpreter.get_output_details()
    found = []
    for x in inputs:
        value = quantize(x[None], taken)
        interpreter.set_tensor(taken["index"], value)
        interpreter.invoke()
        found.append(interpreter.get_tensor(given["index"]))
    return np.concatenate(found)


ENTRIES = [entry.name for entry in zoo.entries() if entry.has_weights]


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_describe_themselves_and_compute_as_published(entry):
    content = zoo.file(entry).read_bytes()
    found = export.Metadata.of(content)
    assert (found.name, found.license) == (entry, zoo.LICENSE)
    recipe = zoo.find(entry).recipe
    assert found.task == recipe.task.name
    # In its own words: keys that came later have the values that they had.
    # An entry is the run of the seed whose score is the median.
    said = Recipe.parse(tomllib.loads(found.origin["recipe"]))
    assert without_seed(said.to_dict()) == without_seed(recipe.to_dict())
    model = digest(zoo.file(entry, "model.keras"))
    assert found.origin["models"]["model.keras"] == model
    labels = found.labels_files()
    for name, text in labels.items():
        assert zoo.file(entry, name).read_text() == text
    assert bool(labels) == (recipe.task.name != "forecasting")
    again = describe(content, dataclasses.replace(found, name="another"))
    np.testing.assert_equal(tables(again), tables(content))
    with np.load(zoo.file(entry, "golden.npz")) as file:
        inputs, right = file["inputs"], file["int8"]
    before = outputs(content, inputs)
    np.testing.assert_array_equal(outputs(again, inputs), before)
    if right.dtype == "int8":
        assert np.abs(before.astype("int16") - right).max() <= 1


@pytest.mark.long
@pytest.mark.parametrize(
    "activation",
    [
        *("linear", "softmax", "relu", "relu6", "sigmoid", "tanh", "gelu"),
        *("swish", "hard_sigmoid", "hard_swish", "leaky_relu"),
    ],
)
def test_an_output_keeps_its_name_when_it_is_quantized(activation, tmp_path):
    inputs = keras.Input((4,), name="features")
    layer = keras.layers.Dense(3, name="probs", activation=activation)
    model = keras.Model(inputs, layer(inputs))
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    quantized = quantization.quantize(model, x)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, given in (("float", model), ("int8", loaded)):
        path = tmp_path / f"{name}.tflite"
        export.to_tflite(given, path)
        signatures = Interpreter(str(path)).get_signature_list()
        assert signatures["serving_default"]["outputs"] == ["probs"]
