"""The command that makes spiking networks of trained ones."""

import io
import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
import recordings
import small
from rich.console import Console

from kbp import __main__ as main
from kbp import export, spiking, training
from kbp.inference.loading import load_keras
from kbp.recipes import Recipe
from kbp.reports.spiking.page import Spiking
from kbp.spiking.cost import Cost
from kbp.tasks import make_task
from kbp.training.spiking import spread

FILES = (
    *("spiking.html", "spiking.keras", "spiking_float32.tflite"),
    "spiking_int8_weights.tflite",
)


def run(sections, folder):
    recipe = Recipe.parse(sections)
    console = Console(file=io.StringIO())
    training.run(recipe, folder, console=console)
    return make_task(recipe)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    place = tmp_path_factory.mktemp("digits")
    sections = {
        "model": {"width": 8, "pooling": "average"},
        "data": {"image_size": 8},
        "optimizer": {"learning_rate": 0.02},
        "training": {"epochs": 8, "batch_size": 64},
        "quantization": {"enabled": False},
        "export": {"benchmark_rounds": 1},
    }
    return place / "run", run(sections, place / "run")


class Page(HTMLParser):
    """The rows of tables, and addresses that a page asks for."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.addresses, self.cell = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "src" or (name.endswith("href") and value[0] != "#"):
                self.addresses.append(value)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        self.cell &= tag not in ("td", "th")

    def handle_data(self, text):
        if self.cell:
            self.rows[-1][-1] += text


def call(capsys, *words):
    status = main.main([*map(str, words)])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.long
def test_a_run_becomes_spiking(digits, tmp_path, capsys):
    folder, task = digits
    out = tmp_path / "out"
    words = ("spike", folder, "--out", out, "--timesteps", 64)
    status, said, _ = call(capsys, *words)
    assert status == 0
    assert sorted(path.name for path in out.iterdir()) == [*FILES]
    model = load_keras(out / "spiking.keras")
    x = task.inputs("test")
    score = task.score(model.predict(x, verbose=0))
    whole = task.score(load_keras(folder / "model.keras").predict(x, verbose=0))
    assert score > whole - 0.03
    assert f"{score:.2%}" in said
    assert f"{whole:.2%}" in said
    cost = spiking.cost(model, np.asarray(x), examples=64)
    text = (out / "spiking.html").read_text()
    page = Page(text)
    assert not [x for x in page.addresses if "://" in x]
    (row,) = (row for row in page.rows if row and row[0] == "all")
    total = cost.total("synaptic_operations")
    assert f"{total:,.0f}" in row
    assert "in the mean of 64 from all over the test split" in text
    assert f"accuracy on {len(x)} test examples" in text
    assert "where the same network without spikes takes" in said
    names = {row[0] for row in page.rows if row}
    assert {layer.name for layer in cost.layers} <= names
    assert text.count("<svg") == 2
    for name, kernels in (("float32", "FLOAT32"), ("int8_weights", "INT8")):
        file = out / f"spiking_{name}.tflite"
        audit = export.audit(file)
        found = {x for op in audit.operations for x in op.inputs}
        assert kernels in found
        same = np.argmax(export.Runner(file).predict(x), -1)
        own = task.score(np.eye(10)[same])
        assert own > score - 0.02
        (row,) = (row for row in page.rows if row and row[0] == file.name)
        assert f"{own:.2%}" in row[2:3]
    metadata = export.Metadata.read(out / "spiking_int8_weights.tflite")
    assert len(metadata.outputs[0].labels) == 10


@pytest.mark.long
def test_fine_tuning_helps_few_steps(digits, tmp_path, capsys):
    folder, task = digits
    scores = []
    for more in ((), ("--fine-tune", 3, "--learning-rate", 0.005)):
        out = tmp_path / f"out{len(scores)}"
        words = ("spike", folder, "--out", out, "--timesteps", 2, *more)
        status, said, _ = call(capsys, *words)
        assert status == 0
        model = load_keras(out / "spiking.keras")
        scores.append(task.score(model.predict(task.inputs("test"), verbose=0)))
    assert "Trained 3 epochs with activations that round" in said
    assert scores[1] > scores[0]


@pytest.mark.long
def test_drawn_spikes_have_no_tflite_file(digits, tmp_path, capsys):
    folder, _ = digits
    words = ("--out", tmp_path, "--timesteps", 4, "--encoder", "poisson")
    status, said, _ = call(capsys, "spike", folder, *words)
    assert status == 0
    assert "LiteRT has no operation that draws spikes" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [*FILES[:2]]
    layer = load_keras(tmp_path / "spiking.keras").get_layer("spikes")
    assert isinstance(layer, spiking.PoissonRate)
    page = (tmp_path / "spiking.html").read_text()
    assert "Inputs are drawn as spikes, anew for each answer." in page
    again = ("spike", tmp_path / "spiking.keras", "--out", tmp_path / "again")
    recipe = ("--recipe", folder / "recipe.toml")
    status, said, _ = call(capsys, *again, *recipe)
    assert status == 0
    assert "LiteRT has no operation that draws spikes" in said
    found = sorted(path.name for path in (tmp_path / "again").iterdir())
    assert found == [*FILES[:2]]


@pytest.mark.long
def test_a_network_is_kept_when_counting_fails(
    digits, tmp_path, capsys, monkeypatch
):
    def fail(*_, **__):
        raise ValueError("Counting fails here.")

    monkeypatch.setattr(spiking, "cost", fail)
    words = ("--timesteps", 2, "--fine-tune", 1)
    status, _, err = call(capsys, "spike", digits[0], "--out", tmp_path, *words)
    assert status == 2
    assert "Counting fails here." in err
    assert load_keras(tmp_path / "spiking.keras").output_shape == (None, 10)


def test_another_number_of_classes_is_named_at_once(digits, tmp_path, capsys):
    folder, task = digits
    inputs = keras.Input(task.shape)
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(8, activation="relu")(x)
    keras.Model(inputs, keras.layers.Dense(7)(x)).save(tmp_path / "7.keras")
    words = ("--recipe", folder / "recipe.toml", "--out", tmp_path / "out")
    status, _, err = call(capsys, "spike", tmp_path / "7.keras", *words)
    assert status == 2
    assert "gives 7 scores, but the data have 10 classes" in err
    assert not (tmp_path / "out").exists()


def test_counted_examples_are_of_the_whole_split(digits):
    _, task = digits
    inputs, labels = task.inputs("test"), task.splits.test.labels
    found, classes = spread(task, 5)
    assert len(found) == len(classes) == 5
    for n in (0, -1):
        np.testing.assert_array_equal(found[n], inputs[n])
        assert classes[n] == labels[n]
    assert len(spread(task, 10**6)[0]) == len(inputs)


@pytest.mark.long
def test_rows_of_tables_become_spiking(tmp_path, capsys):
    sections = small.table(tmp_path) | {"quantization": {"enabled": False}}
    run(sections, tmp_path / "run")
    words = ("spike", tmp_path / "run", "--out", tmp_path / "out")
    status, said, _ = call(capsys, *words, "--timesteps", 16)
    assert status == 0
    points = float(re.search(r"([+-]\d+\.\d+) points", said)[1])
    assert points > -5


@pytest.mark.long
def test_a_spiking_network_is_described_as_it_is(tmp_path, capsys):
    recordings.write(tmp_path / "all", 8)
    sections = {
        "model": {"architecture": "spiking_mlp", "width": 16},
        "data": recordings.section(tmp_path / "all"),
        "training": {"epochs": 2, "batch_size": 8},
        "quantization": {"enabled": False},
        "export": {"benchmark_rounds": 1},
    }
    run(sections, tmp_path / "run")
    words = ("spike", tmp_path / "run", "--out", tmp_path / "out")
    status, _, err = call(capsys, *words, "--timesteps", 4)
    assert status == 2
    assert "--timesteps has no effect" in err
    assert not (tmp_path / "out").exists()
    status, said, _ = call(capsys, *words)
    assert status == 0
    assert "Trained as a spiking network." in said
    assert "source network" not in said
    assert "values take" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--timesteps", "0"), "1 or more: 0"),
        (("--timesteps", "10001"), "at most 10000: 10001"),
        (("--percentile", "101"), "at most 100: 101"),
        (("--percentile", "nan"), "at most 100: nan"),
        (("--settle", "1"), "0 to less than 1: 1"),
        (("--learning-rate", "0.1"), "no effect without --fine-tune"),
        (("--fine-tune", "1", "--learning-rate", "0"), "above 0: 0"),
        (("--encoder", "latency"), "invalid choice"),
        (("--recipe", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_wrong_options_are_one_line(digits, tmp_path, capsys, words, message):
    folder, _ = digits
    out = tmp_path / "out"
    arguments = ["spike", str(folder), "--out", str(out), *words]
    try:
        status = main.main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_what_cannot_spike_is_named(digits, tmp_path, capsys):
    folder, _ = digits
    out = tmp_path / "out"
    with_pool = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(name="most"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    file = tmp_path / "pool.keras"
    with_pool.save(file)
    status, _, err = call(capsys, "spike", file, "--out", out)
    assert status == 2
    assert "belongs to no run" in err
    recipe = tmp_path / "my.toml"
    recipe.write_text(Recipe.parse({"data": {"image_size": 8}}).to_toml())
    words = ("spike", file, "--out", out, "--recipe", recipe)
    status, _, err = call(capsys, *words)
    assert status == 2
    assert "Layer most (MaxPooling2D) cannot become spiking" in err
    assert "model.pooling=average" in err
    recipe.write_text(Recipe.parse({"data": {"image_size": 16}}).to_toml())
    status, _, err = call(capsys, *words)
    assert status == 2
    assert "takes examples of shape (8, 8, 1)" in err
    assert not out.exists()
    (tmp_path / "spiking.html").write_text("mine")
    status, _, err = call(capsys, "spike", folder, "--out", tmp_path)
    assert status == 2
    assert "spiking.html: exists" in err


def test_latency_is_the_first_step_of_those_that_stay_near():
    def settled(*scores):
        cost = Cost((), len(scores), 1)
        return Spiking("", "accuracy", scores, None, cost, (), 0, "").settled

    assert settled(0.9, 0.9, 0.9) == 1
    assert settled(0.1, 0.9, 0.5, 0.895, 0.9) == 4
    assert settled(0.1) == 1
