import numpy as np
import pytest

from kbp import zoo
from kbp.export import Runner
from kbp.export.interface import with_uint8_interface

ENTRIES = [
    "bp_transformer_small.digits",
    "pyramid_bpnet_small.digits",
    "pyramid_bpnet_small.dsb2018",
    "pyramid_bpnet_small.isbi2012",
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_integers_are_128_more_and_nothing_else_changes(tmp_path, entry):
    path = zoo.file(entry)
    changed = tmp_path / "uint8.tflite"
    changed.write_bytes(with_uint8_interface(path.read_bytes()))
    before, after = Runner(path), Runner(changed)
    assert after.inputs[0]["dtype"] == after.outputs[0]["dtype"] == np.uint8
    scale, zero = before.inputs[0]["quantization"]
    assert after.inputs[0]["quantization"] == (scale, zero + 128)
    rng = np.random.default_rng(0)
    raw = rng.integers(-128, 128, before.inputs[0]["shape"]).astype("int16")
    (right,) = before.run([raw.astype("int8")])
    (found,) = after.run([(raw + 128).astype("uint8")])
    np.testing.assert_array_equal(found, right.astype("int16") + 128)
    assert np.ptp(found) > 0


def test_a_file_without_int8_ends_stays_as_it_is():
    content = zoo.file(ENTRIES[-1]).read_bytes()
    changed = with_uint8_interface(content)
    assert changed != content
    assert with_uint8_interface(changed) == changed
    floats = zoo.file("bp_transformer_small.etth1_96").read_bytes()
    assert with_uint8_interface(floats) == floats
