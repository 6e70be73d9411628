"""What the README and the guides of single parts tell people to do works."""

import re

import fresh
import numpy as np

from kbp.data import Examples, Splits

README = (fresh.ROOT / "README.md").read_text()
# They go on with what the README's code has made.
GUIDES = ("optimizer", "pruning", "eight_bits", "extending", "devices")


def test_code_runs(tmp_path, monkeypatch, capsys, own_registries):
    monkeypatch.chdir(tmp_path)
    pages = [fresh.ROOT / "docs" / f"{name}.md" for name in GUIDES]
    text = "\n".join([README, *(page.read_text() for page in pages)])
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    rng = np.random.default_rng(0)
    few = Examples(rng.random((64, 32, 32, 1), "f4"), rng.integers(0, 10, 64))
    splits = Splits(few, few, few, class_names=tuple("0123456789"))
    monkeypatch.setattr("kbp.data.datasets.digits.load", lambda: splits)
    exec(code, {})
    assert (tmp_path / "model_int8.tflite").is_file()
    printed = capsys.readouterr().out
    assert "100.00% of the file's 640 outputs are within one step" in printed
    assert ": matrix (a matrix of " in printed


def test_it_is_one_page():
    assert len(README.encode()) <= 10_000
    outside = re.sub(r"(?s)<!-- table.*?end of table -->|```.*?```", "", README)
    for paragraph in re.split(r"\n\n|\n(?=- )", outside):
        is_table = paragraph.lstrip().startswith("|")
        assert is_table or len(paragraph.splitlines()) <= 5, paragraph


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
