"""Model files that ask for more memory or time than they may have."""

import io
import json
import struct
import sys
import time
import warnings
import zipfile

import bombs
import keras
import numpy as np
import pytest

from kbp.errors import UserError
from kbp.inference import loading, promises

MOST_BYTES, MOST_SECONDS = 3e8, 10


def check_refused(path, words, load=loading.load_keras):
    """Loading says one line, soon and without much memory."""
    bombs.forget()
    before, start = bombs.peak(), time.monotonic()
    with pytest.raises(UserError, match=words) as error:
        load(path)
    assert time.monotonic() - start < MOST_SECONDS
    assert bombs.peak() - before < MOST_BYTES
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """What a harmless file holds."""
    file = tmp_path_factory.mktemp("bombs") / "model.keras"
    layers = [keras.Input((4,)), keras.layers.Dense(3, name="dense")]
    keras.Sequential(layers).save(file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are twice there
        with zipfile.ZipFile(content, "w", compression) as archive:
            for name, member in members:
                archive.writestr(name, member)
    return content.getvalue()


def declare(content, name, size):
    """Let an archive's directory say that a member is so large."""
    start = content.rindex(b"PK\1\2", 0, content.rindex(name.encode()))
    packed = struct.pack("<I", size)
    return content[: start + 24] + packed + content[start + 28 :]


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED]
)
@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_compressed_members_are_refused(compression, name, members, tmp_path):
    rest = [(k, v) for k, v in members.items() if k != name]
    small = pack([*rest, (name, bytes(1 << 24))], compression)
    path = tmp_path / "bomb.keras"
    for content in (small, declare(small, name, 100)):
        path.write_bytes(content)
        check_refused(path, "compresses")


def test_compressed_seeds_are_refused(members, tmp_path):
    seeds = io.BytesIO()
    np.savez_compressed(seeds, np.zeros(1 << 20))
    path = tmp_path / "bomb.keras"
    path.write_bytes(
        pack([*members.items(), ("kbp_seeds.npz", seeds.getvalue())])
    )
    check_refused(path, "compresses")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("config.json", "config.json' twice"),
        ("/config.json", "holds '/config"),
        ("../config.json", "holds '../config"),
        ("C:\\config.json", "holds 'C:"),
        ("assets/", "holds 'assets"),
        ("config.json/", "holds 'config"),
    ],
)
def test_members_are_those_that_are_known_once(name, words, members, tmp_path):
    path = tmp_path / "bomb.keras"
    path.write_bytes(pack([*members.items(), (name, b"{}")]))
    check_refused(path, words)


@pytest.mark.parametrize("size", [0, 100, 2**31, 2**32 - 2])
def test_members_have_the_size_they_say(size, members, tmp_path):
    path = tmp_path / "bomb.keras"
    path.write_bytes(declare(pack(members.items()), "config.json", size))
    check_refused(path, r"says that|unpacks to more")


def promise(members, **changes):
    """Return the members with other arguments of the layers."""
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"] |= changes
    return {**members, "config.json": json.dumps(config).encode()}


def with_layers(members, count, make):
    config = json.loads(members["config.json"])
    config["config"]["layers"][1:1] = [make(i) for i in range(count)]
    return {**members, "config.json": json.dumps(config).encode()}


def usual(kind, /, **config):
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": config,
        "registered_name": None,
    }


def nested(count):
    made = usual("Flatten")
    for _ in range(count):
        made = usual("TimeDistributed", layer=made)
    return made


def models(count, width):
    """Sequential models in each other, each with some layers."""
    made = usual("Flatten", name="inmost")
    for depth in range(count):
        beside = [usual("Flatten", name=f"f{depth}_{i}") for i in range(width)]
        config = {"name": f"model{depth}", "layers": [*beside, made]}
        made = {**usual("Sequential", **config), "module": "keras"}
    return made


PROMISES = {
    "units": (lambda m: promise(m, units=10**9), "'dense' asks for weights"),
    "units of a whole file": (
        lambda m: promise(m, units=10**7),
        "'dense' asks for weights",
    ),
    "input": (
        lambda m: with_layers(
            m, 1, lambda i: usual("RepeatVector", n=10**9, name="again")
        ),
        "'again' makes values",
    ),
    "embedding": (
        lambda m: with_layers(
            m,
            1,
            lambda i: usual(
                "Embedding", input_dim=10**12, output_dim=1, name="words"
            ),
        ),
        "'words' asks for weights",
    ),
    "recurrent": (
        lambda m: with_layers(
            with_layers(m, 1, lambda i: usual("LSTM", units=10**6, name="l")),
            1,
            lambda i: usual("RepeatVector", n=2, name="again"),
        ),
        "asks for weights of shape",
    ),
    "many layers": (
        lambda m: with_layers(
            m, 3000, lambda i: usual("Flatten", name=f"f{i}")
        ),
        "3,002 layers",
    ),
    "many models in models": (
        lambda m: with_layers(m, 1, lambda i: models(30, 40)),
        "models in models call",
    ),
    "layers in layers": (
        lambda m: with_layers(m, 1, lambda i: nested(200)),
        "more than 200 levels",
    ),
    "a long configuration": (
        lambda m: {**m, "config.json": b"[" + b"1," * 11_000_000 + b"1]"},
        "more than 20,000,000 bytes",
    ),
}


@pytest.mark.parametrize(("make", "words"), PROMISES.values(), ids=PROMISES)
def test_what_a_configuration_promises_is_bounded(
    make, words, members, tmp_path
):
    path = tmp_path / "bomb.keras"
    path.write_bytes(pack(make(members).items()))
    check_refused(path, words)


def test_a_lying_shape_is_bounded_too(members, tmp_path):
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["build_config"] = {"input_shape": [1, 10**10]}
    members = {**members, "config.json": json.dumps(config).encode()}
    path = tmp_path / "bomb.keras"
    path.write_bytes(pack(members.items()))
    check_refused(path, "'dense' asks for weights")


@pytest.mark.parametrize(
    "count", [300, pytest.param(1200, marks=pytest.mark.slow)]
)
def test_a_deep_sequential_model_is_built_once(count, tmp_path):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 5000))  # Keras's own way of building it
    try:
        layers = [keras.layers.Activation("tanh") for _ in range(count)]
        model = keras.Sequential([keras.Input((4,)), *layers])
        path = tmp_path / "model.keras"
        model.save(path)
        sys.setrecursionlimit(limit)
        start = time.monotonic()
        loaded = loading.load_keras(path)
        # A second for each thousand calls; built anew each time, a minute.
        assert time.monotonic() - start < 10 + count / 30
        assert len(loaded.layers) == count
        x = np.ones((1, 4), "float32")
        np.testing.assert_array_equal(loaded(x), model(x))
    finally:
        sys.setrecursionlimit(limit)
    assert "kbp" not in keras.Sequential.from_config.__module__


def test_large_models_load_and_layers_are_as_before(tmp_path):
    before = keras.layers.Layer.add_weight
    inputs = keras.Input((512,))
    x = keras.layers.Dense(4096, name="large")(inputs)
    x = keras.Sequential([keras.Input((4096,)), keras.layers.Dense(64)])(x)
    for i in range(100):
        x = keras.layers.Activation("relu", name=f"layer{i}")(x)
    model = keras.Model(inputs, x)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = loading.load_keras(path)
    assert loaded.count_params() == model.count_params()
    assert promises.most_values(loaded) == 4096
    assert keras.layers.Layer.add_weight is before
