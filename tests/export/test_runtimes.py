"""What other runtimes need of a .tflite file."""

import pytest

from kbp import zoo
from kbp.errors import UserError
from kbp.export.runtimes import arena_size, micro


def test_an_arena_is_the_smallest_that_the_file_runs_in():
    pytest.importorskip("tflite_micro", reason="needs kbp[micro]")
    path = zoo.file(zoo.DEFAULT)
    size = arena_size(path)
    assert not micro._refusal(path.read_bytes(), size)
    assert micro._refusal(path.read_bytes(), size - 16)


def test_without_tflite_micro_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(micro.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install kbp\[micro\]"):
        arena_size(zoo.file(zoo.DEFAULT))
