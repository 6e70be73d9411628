"""A run's folder as an entry of a zoo of one's own."""

import keras
import numpy as np
import pytest
import quick
from PIL import Image

import kbp
from kbp import deploy, zoo
from kbp.__main__ import main
from kbp.errors import UserError

pytestmark = pytest.mark.long  # for the run that they share


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("entry") / "run"
    assert main(["train", "--workdir", str(folder), *quick.WORDS]) == 0
    return folder


@pytest.fixture
def mine(run, tmp_path, monkeypatch):
    own = tmp_path / "my_zoo"
    words = [
        "deploy",
        str(run),
        "--target",
        "entry",
        "--out",
        str(own / "mine"),
    ]
    assert main(words) == 0
    monkeypatch.setenv("KBP_ZOO", str(own))
    return own / "mine"


def test_an_entry_of_ones_own_loads_and_verifies(mine, run):
    assert "mine" in [entry.name for entry in zoo.entries()]
    zoo.verify("mine")
    x = np.random.default_rng(0).random((4, 8, 8, 1)).astype("float32")
    model = keras.saving.load_model(run / "model.keras", compile=False)
    np.testing.assert_array_equal(
        zoo.load("mine").predict(x, verbose=0), model.predict(x, verbose=0)
    )
    assert zoo.find("mine").recipe == kbp.recipes.Recipe.read(
        run / "recipe.toml"
    )
    assert "hf upload USER/REPOSITORY ." in (mine / "README.md").read_text()


def test_an_entry_of_ones_own_predicts_by_its_name(mine, tmp_path, capsys):
    Image.fromarray(np.zeros((8, 8), "uint8")).save(tmp_path / "a.png")
    out = tmp_path / "out"
    words = ["predict", "mine", str(tmp_path / "a.png"), "--out", str(out)]
    assert main(words) == 0, capsys.readouterr().err
    assert [*out.iterdir()]


def test_a_changed_file_of_an_entry_is_refused(mine):
    (mine / "model.keras").write_bytes(b"other")
    with pytest.raises(UserError, match="not the file that was published"):
        zoo.load("mine")


def test_what_is_no_run_becomes_no_entry(tmp_path):
    with pytest.raises(UserError, match="folder of a finished run"):
        deploy.deploy(zoo.DEFAULT, "entry", tmp_path / "entry")
    assert not (tmp_path / "entry").exists()


def test_a_run_without_eight_bits_becomes_no_entry(run, tmp_path):
    words = [*quick.WORDS, "--set", "quantization.enabled=false"]
    folder = tmp_path / "float"
    assert main(["train", "--workdir", str(folder), *words]) == 0
    with pytest.raises(UserError, match=r"int8\.tflite: missing, and an entry"):
        deploy.deploy(folder, "entry", tmp_path / "entry")
