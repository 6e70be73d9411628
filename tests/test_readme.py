"""What the README tells people to do works."""

import re
import warnings

import fresh
import numpy as np

from kbp.data import Examples, Splits

README = (fresh.ROOT / "README.md").read_text()


def test_code_runs(tmp_path, monkeypatch, capsys, own_registries):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    rng = np.random.default_rng(0)
    few = Examples(rng.random((64, 32, 32, 1), "f4"), rng.integers(0, 10, 64))
    splits = Splits(few, few, few, class_names=tuple("0123456789"))
    monkeypatch.setattr("kbp.data.datasets.digits.load", lambda: splits)
    with warnings.catch_warnings():
        # Keras 3.15 says so of every tf.data.Dataset that fit is given.
        warnings.filterwarnings("ignore", "`shuffle=True` was passed")
        exec(code, {})
    assert (tmp_path / "model_int8.tflite").is_file()
    printed = capsys.readouterr().out
    assert "within_one=1.0" in printed
    assert ": matrix (a matrix of " in printed


def test_set_up_is_two_commands():
    commands = re.findall(r"^    (pip install .*)$", README, re.MULTILINE)
    assert commands == [
        "pip install . && python train.py",
        "pip install '.[test]' && pytest",
    ]


def test_links_lead_somewhere():
    for page in fresh.ROOT.glob("*.md"), fresh.ROOT.glob("models/**/*.md"):
        for path in page:
            for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
                assert (path.parent / link).exists(), (path, link)
