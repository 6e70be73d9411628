"""What other runtimes need of a .tflite file."""

import numpy as np
import pytest

from kbp import zoo
from kbp.errors import UserError
from kbp.export.interpreter import allocate
from kbp.export.runtimes import arena_size, micro, with_uint8_interface


def run(content, x):
    interpreter = allocate(content)
    (taken,) = interpreter.get_input_details()
    (given,) = interpreter.get_output_details()
    interpreter.set_tensor(taken["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(given["index"])


def test_a_uint8_interface_gives_the_same_integers():
    content = zoo.file(zoo.DEFAULT).read_bytes()
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (1, 32, 32, 1), "int8")
    shifted = with_uint8_interface(content)
    found = run(shifted, (x.astype("int16") + 128).astype("uint8"))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.astype("int16") - 128, run(content, x))
    assert with_uint8_interface(shifted) == shifted


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
