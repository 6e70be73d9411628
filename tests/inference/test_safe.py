"""Files that want more than to hold a model are refused before Keras looks."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

import kbp
from kbp import quantization, sparsity
from kbp.errors import UserError
from kbp.inference import loading, safe
from kbp.recipes import Recipe
from kbp.training import checkpoint


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """What a harmless file holds."""
    file = tmp_path_factory.mktemp("safe") / "model.keras"
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, activation="relu")]
    )
    model.save(file)
    safe.check_keras_file(file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def share_right(y_true, y_pred):
    return keras.ops.equal(y_true, y_pred)


def layer(module, name, /, **config):
    """Return the configuration of a hostile layer."""
    return {
        "module": module,
        "class_name": name,
        "config": {"name": "hostile", **config},
        "registered_name": None,
    }


def function(module, name):
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": name,
    }


def activation(what):
    return layer("keras.layers", "Activation", activation=what)


LAYERS = {
    # CVE-2025-1550: any function of any module.
    "os.system": activation(function("os", "system")),
    "builtins.eval": activation(function("builtins", "eval")),
    "any class": layer("subprocess", "Popen", args=["true"]),
    "pretended to be kbp's": {
        **layer("subprocess", "Popen", args=["true"]),
        "registered_name": "kbp>Popen",
    },
    # CVE-2024-3660, and its way around through other layers.
    "Lambda": layer(
        "keras.layers",
        "Lambda",
        function={"class_name": "__lambda__", "config": {"code": "4wA="}},
    ),
    "Lambda within TimeDistributed": layer(
        "keras.layers",
        "TimeDistributed",
        layer=layer("keras.layers", "Lambda"),
    ),
    # CVE-2025-8747: functions of Keras itself that fetch and unpack files.
    "get_file": activation(function("keras.utils", "get_file")),
    "get_file, inside": activation(
        function("keras.src.utils.file_utils", "get_file")
    ),
    "load_model": activation(function("keras.models", "load_model")),
    # CVE-2025-9906: the safe mode, switched off from inside.
    "safe mode off": activation(
        function("keras.config", "enable_unsafe_deserialization")
    ),
    "any object": activation(function("keras.losses", "deserialize")),
    # CVE-2025-49655: a pickle.
    "TorchModuleWrapper": layer(
        "keras.layers", "TorchModuleWrapper", module="gASV"
    ),
    # CVE-2025-12058: a file or an address to read.
    "StringLookup": layer(
        "keras.layers", "StringLookup", vocabulary="/etc/passwd"
    ),
    "another's class": {
        **layer("keras.layers", "ReLU"),
        "registered_name": "other>Evil",
    },
    "a number for a name": {
        **layer("keras.layers", "ReLU"),
        "registered_name": 1,
    },
    "a type, pretended": {
        **layer("builtins", "__typespec__", module="os", spec_name="system"),
        "registered_name": "kbp>FeatureFusion",
    },
    "code, pretended": {
        **layer("builtins", "__lambda__", code="4wA="),
        "registered_name": "kbp>FeatureFusion",
    },
    "TextVectorization": layer(
        "keras.layers", "TextVectorization", vocabulary="gs://a/b"
    ),
    # CVE-2026-1462: a SavedModel elsewhere.
    "TFSMLayer": layer("keras.layers", "TFSMLayer", filepath="/tmp/model"),
    "JaxLayer": layer("keras.layers", "JaxLayer"),
    "an operation that is none": layer("keras.src.ops.numpy", "np"),
    "no name": layer("keras.layers", None),
    "a list for a module": layer(["os"], "system"),
}


def linked(file):
    file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")


def external(file):
    file.create_dataset(
        "elsewhere", (10,), "uint8", external=[("/etc/passwd", 0, 10)]
    )


def virtual(file):
    layout = h5py.VirtualLayout((10,), "uint8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", (10,))
    file.create_virtual_dataset("elsewhere", layout)


def huge(file):  # CVE-2026-0897
    file.create_dataset("bomb", (10**12,), "float32", chunks=(1000,))


def cyclic(file):
    file["layers/again"] = file["/"]


def doubling(file):
    for i in range(40):
        group = file.create_group(f"g{i}")
        file[f"g{i}"].attrs["i"] = i
    for i in range(39):
        for name in "ab":
            file[f"g{i}/{name}"] = file[f"g{i + 1}"]
    del group


def typed(file):
    file["type"] = np.dtype("float32")


WEIGHTS = {
    f.__name__: f
    for f in (linked, external, virtual, huge, cyclic, doubling, typed)
}


def write(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def check_refused(
    path, monkeypatch, loads=(loading.load_keras, checkpoint.load)
):
    def seen(*arguments, **options):
        raise AssertionError("Keras has seen the file")

    monkeypatch.setattr(keras.saving, "load_model", seen)
    for entry in (False, True):
        with pytest.raises(UserError, match=path.name) as error:
            safe.check_keras_file(path, entry=entry)
        assert "\n" not in str(error.value)
    for load in loads:
        with pytest.raises(UserError, match=path.name):
            load(path)


@pytest.mark.parametrize("hostile", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("place", ["layer", "compiled", "built"])
def test_hostile_configurations_are_refused(
    hostile, place, members, tmp_path, monkeypatch
):
    config = json.loads(members["config.json"])
    if place == "layer":
        config["config"]["layers"][1] = hostile
    elif place == "compiled":
        config["compile_config"] = {"loss": hostile}
    else:
        config["build_config"] = {"input_shape": [1, {"deep": [hostile]}]}
    file = write(
        tmp_path / "model.keras",
        {**members, "config.json": json.dumps(config)},
    )
    if place != "compiled":
        check_refused(file, monkeypatch)
        return
    # Where the model is compiled anew, nobody makes what it was compiled with.
    assert not loading.load_keras(file).compiled
    check_refused(file, monkeypatch, loads=(checkpoint.load,))


def test_a_nested_models_compilation_is_checked(members, tmp_path, monkeypatch):
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    inner.compile("sgd", "mse", metrics=[share_right])
    inputs = keras.Input((4,))
    path = tmp_path / "model.keras"
    keras.Model(inputs, inner(inputs)).save(path)
    check_refused(path, monkeypatch)


@pytest.mark.parametrize("spoil", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_lie_elsewhere_are_refused(
    spoil, members, tmp_path, monkeypatch
):
    content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        spoil(file)
    file = write(
        tmp_path / "model.keras",
        {**members, "model.weights.h5": content.getvalue()},
    )
    check_refused(file, monkeypatch)


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/cron.d/evil", "assets/vocabulary.txt", "a.pkl"]
)
def test_strange_members_are_refused(name, members, tmp_path, monkeypatch):
    file = write(tmp_path / "model.keras", {**members, name: "x"})
    check_refused(file, monkeypatch)


def test_what_unpacks_to_more_is_refused(members, tmp_path, monkeypatch):
    file = tmp_path / "model.keras"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content + bytes(10**6))
    check_refused(file, monkeypatch)


def test_what_is_no_archive_is_refused(members, tmp_path, monkeypatch):
    file = tmp_path / "model.keras"
    # CVE-2025-9905: HDF5 files ignore the safe mode.
    with h5py.File(file, "w") as old:
        old.attrs["model_config"] = "{}"
    check_refused(file, monkeypatch)
    for content in (b"", b"PK", np.arange(9).tobytes()):
        file.write_bytes(content)
        check_refused(file, monkeypatch)
    for gone in ("config.json", "model.weights.h5"):
        rest = {k: v for k, v in members.items() if k != gone}
        check_refused(write(file, rest), monkeypatch)
    deep = "[" * 100_000 + "]" * 100_000
    check_refused(write(file, {**members, "config.json": deep}), monkeypatch)


@pytest.mark.long
def test_own_and_usual_models_pass(tmp_path):
    layers = keras.layers
    inputs = keras.Input((8, 3))
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True))(inputs)
    x = layers.LayerNormalization()(x)
    x = layers.Dense(3, activation="gelu", kernel_regularizer="l2")(x)
    x = layers.TimeDistributed(layers.Dense(2))(x)
    x = keras.ops.mean(x, axis=1) + keras.ops.max(inputs[:, :, :2], axis=1)
    usual = keras.Model(inputs, x)
    usual.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(0.1, 10), clipnorm=1.0
        ),
        keras.losses.Huber(),
        metrics=[keras.metrics.MeanSquaredError(), "mae"],
    )
    usual.train_on_batch(np.zeros((2, 8, 3)), np.zeros((2, 2)))
    own = sparsity.apply_dtm(
        kbp.models.PyramidBPNet((8, 8, 1), 2, num_scales=2, width=4)
    )
    batch = np.zeros((4, 8, 8, 1), "float32")
    own = quantization.quantize_aware(own, [batch])
    own.compile(kbp.HybridOptimizer(), "mse")
    for model in (usual, own):
        model.save(tmp_path / "model.keras")
        loading.load_keras(tmp_path / "model.keras")


@pytest.mark.parametrize(
    "text",
    [
        'import = "os"',
        '[model]\n__class__ = "os.system"',
        "[optimizer]\nlearning_rate = inf",
        '[data]\nname = "__import__"',
        "[data]\nimage_size = 1000000000000000000000000000000",
        '[training]\nepochs = "2"',
        "[training]\nepochs = nan",
        '[export]\nallow_float = "MUL"',
        '[training.optimizer]\n"learning_rate" = 1',
        "[[model]]",
        "\x00",
    ],
)
def test_hostile_recipes_are_refused(text, tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"recipe\.toml") as error:
        Recipe.read(file)
    assert "\n" not in str(error.value)
