"""Damaged model files are one line of an error, never a wrong result."""

import contextlib
import json
import zipfile

import keras
import numpy as np
import pytest

import kbp
from kbp.__main__ import main
from kbp.errors import UserError
from kbp.inference import loading


@pytest.fixture(scope="module")
def model():
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)]
    )


def _archive(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def members(model, tmp_path):
    model.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _refused(path):
    with pytest.raises(UserError, match=r"damaged\.keras: ") as caught:
        loading.load_keras(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"\xff\xfe", b"null"]
)
def test_damaged_metadata_are_refused(content, members, tmp_path):
    if content is None:
        del members["metadata.json"]
    else:
        members["metadata.json"] = content
    _refused(_archive(tmp_path / "damaged.keras", members))


def test_flipped_bytes_of_weights_are_refused_or_change_a_weight(
    members, tmp_path
):
    whole = bytearray(members["model.weights.h5"])
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        start = int(random.integers(0, 2500))
        noise = random.integers(0, 256, 12, dtype="uint8")
        damaged[start : start + 12] = noise.tobytes()
        members["model.weights.h5"] = bytes(damaged)
        path = _archive(tmp_path / "damaged.keras", members)
        with contextlib.suppress(UserError):
            loading.load_keras(path)
            continue
        refused += 1
    assert refused > 5


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("every", [True, False])
def test_weights_that_are_no_numbers_are_refused(value, every, model, tmp_path):
    wrong = keras.models.clone_model(model)
    kernel = np.ones((3, 2), "float32")
    kernel[slice(None) if every else 1] = value
    wrong.layers[-1].set_weights([kernel, np.zeros(2)])
    wrong.save(tmp_path / "damaged.keras")
    _refused(tmp_path / "damaged.keras")
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        kbp.export.to_tflite(wrong, tmp_path / "model.tflite")
    assert not (tmp_path / "model.tflite").exists()


def test_whole_files_and_uncalibrated_ranges_pass(model, tmp_path):
    rounded = kbp.quantization.quantize_aware(model)
    rounded.save(tmp_path / "rounded.keras")
    assert loading.load_keras(tmp_path / "rounded.keras").count_params()


def test_export_of_a_damaged_file_ends_with_status_two(
    members, tmp_path, capsys
):
    members["metadata.json"] = json.dumps([]).encode()
    path = _archive(tmp_path / "damaged.keras", members)
    out = tmp_path / "model.tflite"
    assert main(["export", str(path), str(out)]) == 2
    assert "metadata.json holds no object" in capsys.readouterr().err
    assert not out.exists()
