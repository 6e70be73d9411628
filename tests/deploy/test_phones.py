"""Classes of Kotlin and Swift are filled with what the file says."""

import re

import deployed
import pytest

from kbp import deploy, export, zoo

PHONES = {"android": "Model.kt", "ios": "Model.swift"}


@pytest.mark.parametrize("target", PHONES)
def test_scales_and_zero_points_are_those_of_the_file(tmp_path, target):
    entry = "pyramid_bpnet_small.digits"
    folder = deploy.deploy(entry, target, tmp_path / "app")
    code = (folder / PHONES[target]).read_text()
    runner = export.Runner(zoo.file(entry))
    for details in (*runner.inputs, *runner.outputs):
        scale, zero = details["quantization"]
        assert f"{scale:.9g}" in code
        assert f"({zero})" in code
    assert "1024" in code
    assert not re.search(r"@\w+@", code)
    assert (folder / "labels.txt").read_text().split() == list("0123456789")


@pytest.mark.parametrize("target", PHONES)
def test_floats_are_not_rounded(tmp_path, target):
    path = deployed.dense(tmp_path / "run", (8, 8, 1), (3,))
    folder = deploy.deploy(path, target, tmp_path / "app")
    code = (folder / PHONES[target]).read_text()
    assert "round" not in code.lower()
    assert "rounds" not in (folder / "README.md").read_text()
    assert code.count("{") == code.count("}")
