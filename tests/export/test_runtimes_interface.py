"""Files with ends of another type compute what they computed."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from graphs import random_graph

from kbp import export, quantization, zoo
from kbp.__main__ import main
from kbp.export.metadata.archive import read_archive
from kbp.export.metadata.schema import BUFFER
from kbp.export.runtimes import with_interface

DTYPES = ("float32", "int8", "uint8")
UNITS = ("bp_transformer_small.ett", "dlinear")  # take the data's, in float
ENTRIES = [entry.name for entry in zoo.entries()]


def pictures(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(32, 8, 8, 3)).astype("float32")


def runner(content, folder):
    path = folder / "model.tflite"
    path.write_bytes(content)
    return export.Runner(path)


def types_of(one):
    ends = (*one.inputs, *one.outputs)
    return {np.dtype(details["dtype"]).name for details in ends}


def interpreted(content):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return interpreter


def ran(content, *values):
    """Return what a file gives for values of its own types."""
    interpreter = interpreted(content)
    details = interpreter.get_input_details()
    for found, value in zip(details, values, strict=True):
        interpreter.set_tensor(found["index"], value)
    interpreter.invoke()
    return [
        interpreter.get_tensor(found["index"])
        for found in interpreter.get_output_details()
    ]


def steps_of(content):
    """Return scale and zero point of each input, and of each output."""
    interpreter = interpreted(content)
    return tuple(
        [found["quantization"] for found in details]
        for details in (
            interpreter.get_input_details(),
            interpreter.get_output_details(),
        )
    )


def check_equal(content, rng):
    """Check a file of int8 ends against its twins, for any values."""
    files = {dtype: with_interface(content, dtype) for dtype in DTYPES}
    assert files["int8"] == content
    taken, given = steps_of(content)
    shapes = [x["shape"] for x in interpreted(content).get_input_details()]
    # Integers outside of int8, too: floats may be of any size.
    steps = [rng.integers(-400, 400, shape) for shape in shapes]
    inside = [np.clip(x, -128, 127) for x in steps]
    right = ran(content, *(x.astype("int8") for x in inside))
    shifted = ran(files["uint8"], *((x + 128).astype("uint8") for x in inside))
    floats = ran(
        files["float32"],
        *(
            ((x - zero) * np.float32(scale)).astype("float32")
            for x, (scale, zero) in zip(steps, taken, strict=True)
        ),
    )
    for x, y, z, (scale, zero) in zip(
        right, shifted, floats, given, strict=True
    ):
        assert (x.dtype, y.dtype, z.dtype) == ("int8", "uint8", "float32")
        np.testing.assert_array_equal(y.astype("int16") - 128, x)
        steps = (x.astype("float32") - zero) * np.float32(scale)
        np.testing.assert_allclose(z, steps, rtol=1e-6)
    for dtype, file in files.items():
        assert with_interface(file, dtype) == file
        back = with_interface(file, "int8")
        assert steps_of(back) == (taken, given)
        found = ran(back, *(x.astype("int8") for x in inside))
        for x, y in zip(found, right, strict=True):
            np.testing.assert_array_equal(x, y)
        # Nothing is left of what was added.
        assert len(export.audit(back).operations) == len(
            export.audit(content).operations
        )


@pytest.mark.long
@pytest.mark.parametrize("entry", ENTRIES)
def test_golden_inputs_of_entries_give_the_same_for_all_types(entry, tmp_path):
    content = zoo.file(entry).read_bytes()
    if entry.startswith(UNITS):
        assert with_interface(content, "float32") == content
        for dtype in ("int8", "uint8"):
            with pytest.raises(ValueError, match="float32 alone"):
                with_interface(content, dtype)
        return
    inputs = np.load(zoo.file(entry, "golden.npz"))["inputs"]
    files = {dtype: with_interface(content, dtype) for dtype in DTYPES}
    found = {k: runner(file, tmp_path) for k, file in files.items()}
    for dtype, one in found.items():
        assert types_of(one) == {dtype}
    answers = [one.predict(inputs) for one in found.values()]
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])


@pytest.mark.parametrize(
    "entry", [name for name in ENTRIES if not name.startswith(UNITS)]
)
def test_any_integers_of_entries_give_the_same_for_all_types(entry):
    content = zoo.file(entry).read_bytes()
    check_equal(content, np.random.default_rng(1))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_give_the_same_for_all_types(seed, tmp_path):
    model, images = random_graph(seed), pictures(seed)
    quantized = quantization.quantize(model, images)
    export.to_tflite(quantized, tmp_path / "a.tflite", input_dtype="int8")
    content = (tmp_path / "a.tflite").read_bytes()
    check_equal(content, np.random.default_rng(seed))


@pytest.mark.long
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_changed_file_is_that_which_the_converter_would_write(
    dtype, tmp_path
):
    model, images = random_graph(0), pictures(0)
    quantized = quantization.quantize(model, images)
    files = {}
    for name in DTYPES:
        export.to_tflite(quantized, tmp_path / "a.tflite", input_dtype=name)
        files[name] = (tmp_path / "a.tflite").read_bytes()
    for name, content in files.items():
        changed = runner(with_interface(content, dtype), tmp_path)
        right = runner(files[dtype], tmp_path)
        assert (
            changed.inputs[0]["quantization"]
            == (right.inputs[0]["quantization"])
        )
        np.testing.assert_array_equal(
            changed.predict(images), right.predict(images), err_msg=name
        )


def several():
    left = keras.Input((4,), name="left")
    index = keras.Input((3,), dtype="int32", name="index")
    x = keras.layers.Embedding(7, 4, name="table")(index)
    x = keras.layers.Concatenate()([left, keras.layers.Flatten()(x)])
    score = keras.layers.Dense(2, name="score")(x)
    age = keras.layers.Dense(1, name="age")(x)
    return keras.Model([left, index], [score, age])


def test_names_texts_and_indices_stay_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    data = {
        "left": rng.normal(size=(32, 4)).astype("float32"),
        "index": rng.integers(0, 7, (32, 3)).astype("int32"),
    }
    quantized = quantization.quantize(several(), data)
    metadata = export.Metadata(
        "several",
        outputs=(
            export.TensorInfo("a", unit="logit", labels=("cat", "dog")),
            export.TensorInfo("b", highest=(90.0,)),
        ),
        files={"columns.json": "{}"},
    )
    path = tmp_path / "a.tflite"
    export.to_tflite(quantized, path, metadata=metadata)
    content = path.read_bytes()
    described = export.Metadata.of(content)
    answers = []
    for dtype in DTYPES:
        changed = with_interface(content, dtype)
        assert export.Metadata.of(changed) == described
        assert read_archive(changed) == read_archive(content)
        assert standard_tables(changed) == standard_tables(content)
        interpreter = Interpreter(model_content=changed)
        assert interpreter.get_signature_list() == {
            "serving_default": {
                "inputs": ["index", "left"],
                "outputs": ["age", "score"],
            }
        }
        names = [x["name"] for x in interpreter.get_input_details()]
        assert sorted(names) == ["index", "left"]
        types = {
            x["name"]: np.dtype(x["dtype"]).name
            for x in interpreter.get_input_details()
        }
        assert types == {"left": dtype, "index": "int32"}
        answers.append(runner(changed, tmp_path).predict(data))
    for other in answers[1:]:
        for x, y in zip(other, answers[0], strict=True):
            np.testing.assert_array_equal(x, y)


def standard_tables(content):
    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    (entry,) = [x for x in tree.metadata if x.name == BUFFER.encode()]
    return tree.buffers[entry.buffer].data.tobytes()


def test_unknown_types_and_damaged_archives_are_one_line():
    content = zoo.file(zoo.DEFAULT).read_bytes()
    with pytest.raises(ValueError, match="must be one of"):
        with_interface(content, "int16")
    damaged = content.replace(b'"inputs"', b'"inputz"')
    assert damaged != content
    with pytest.raises(ValueError, match="archive at the file's end"):
        with_interface(damaged, "uint8")


@pytest.mark.parametrize("dtype", DTYPES)
def test_entries_and_files_are_exported_with_other_types(dtype, tmp_path):
    out, again = tmp_path / "out.tflite", tmp_path / "again.tflite"
    assert main(["export", zoo.DEFAULT, str(out), "--input-dtype", dtype]) == 0
    assert types_of(export.Runner(out)) == {dtype}
    assert export.Metadata.read(out).name == zoo.DEFAULT
    words = ["export", str(out), str(again), "--input-dtype", "int8"]
    assert main(words) == 0
    values = np.random.default_rng(0).integers(
        -128, 128, (1, 32, 32, 1), "int8"
    )
    right = ran(zoo.file(zoo.DEFAULT).read_bytes(), values)
    np.testing.assert_array_equal(ran(again.read_bytes(), values), right)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bp_transformer_small.etth1_96", "--input-dtype", "int8"], "float32"),
        (["{file}"], "--input-dtype alone can be changed"),
        (["{file}", "--dtype", "float32"], "--input-dtype alone"),
        ([zoo.DEFAULT, "--input-dtype", "int8", "--batch-size", "2"], "alone"),
        (["no.tflite", "--input-dtype", "int8"], "no such file"),
        (["{none}", "--input-dtype", "int8"], "not a .tflite file"),
    ],
)
def test_what_cannot_be_changed_is_one_line(words, said, tmp_path, capsys):
    none = tmp_path / "none.tflite"
    none.write_bytes(b"nothing that is a model")
    known = {"{file}": str(zoo.file(zoo.DEFAULT)), "{none}": str(none)}
    source, *options = (known.get(word, word) for word in words)
    out = tmp_path / "out.tflite"
    assert main(["export", source, str(out), *options]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not out.exists()
