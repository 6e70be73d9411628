"""What was saved works in a process that knows nothing else."""

import fresh
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import export

MODELS = {
    "pyramid": lambda: kbp.models.PyramidBPNet((8, 8, 1), 3, width=8),
    "transformer": lambda: kbp.models.BPTransformer((6, 5), 3, width=8),
}


@pytest.fixture(
    params=["pyramid", pytest.param("transformer", marks=pytest.mark.slow)]
)
def trained(request):
    model = MODELS[request.param]()
    x = np.random.default_rng(0).random((8, *model.input_shape[1:]), "float32")
    model.compile(kbp.HybridOptimizer(0.01), "mse")
    model.fit(x, np.ones((8, 3)), verbose=0)
    return model, x


@pytest.mark.long
def test_keras_files_load_and_go_on_training(trained, tmp_path):
    model, x = trained
    np.save(tmp_path / "x.npy", x)
    pruned = kbp.sparsity.apply_dtm(model, threshold=0.1)
    quantized = kbp.quantization.quantize_aware(pruned, [x])
    gated = kbp.sparsity.apply_dtm(model, granularity="channel", threshold=0.9)
    models = {"pruned": pruned, "gated": gated, "quantized": quantized}
    for name, m in models.items():
        # Tracing takes longer than the steps.
        m.compile(kbp.HybridOptimizer(0.01), "mse", run_eagerly=True)
        m.fit(x, np.ones((8, 3)), verbose=0)
        m.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", as_numpy(m(x)))
        m.fit(x, np.ones((8, 3)), verbose=0, shuffle=False)
        np.save(tmp_path / f"{name}_later.npy", as_numpy(m(x)))
    fresh.python(
        """
import sys
import kbp, keras
import numpy as np
folder = sys.argv[1]
x = np.load(f"{folder}/x.npy")
for name in ("pruned", "gated", "quantized"):
    m = keras.saving.load_model(f"{folder}/{name}.keras", safe_mode=True)
    y = keras.ops.convert_to_numpy(m(x))
    np.testing.assert_array_equal(y, np.load(f"{folder}/{name}.npy"))
    m.fit(x, np.ones((8, 3)), verbose=0, shuffle=False)
    y = keras.ops.convert_to_numpy(m(x))
    np.testing.assert_array_equal(y, np.load(f"{folder}/{name}_later.npy"))
""",
        tmp_path,
    )


@pytest.mark.long
def test_saved_model_needs_neither_keras_nor_kbp(trained, tmp_path):
    model, x = trained
    export.to_saved_model(model, tmp_path / "saved")
    np.savez(tmp_path / "data.npz", x=x, y=as_numpy(model(x)))
    fresh.python(
        """
import sys
for name in ("kbp", "keras", "tf_keras"):
    sys.modules[name] = None  # as if it were not installed
import tensorflow as tf
import numpy as np
folder = sys.argv[1]
data = np.load(f"{folder}/data.npz")
loaded = tf.saved_model.load(f"{folder}/saved")
serve = loaded.signatures["serving_default"]
(name,) = serve.structured_input_signature[1]
for size in (1, 8):
    (y,) = serve(**{name: tf.constant(data["x"][:size])}).values()
    np.testing.assert_allclose(y, data["y"][:size], atol=1e-6)
""",
        tmp_path,
    )


@pytest.mark.long
def test_int8_file_runs_with_litert_alone(trained, tmp_path):
    model, x = trained
    quantized = kbp.quantization.quantize_aware(model, [x])
    export.to_tflite(quantized, tmp_path / "model.tflite")
    expected = export.Runner(tmp_path / "model.tflite").predict_raw(x)
    np.savez(tmp_path / "data.npz", x=x, y=expected)
    fresh.python(
        """
import sys
for name in ("kbp", "keras", "tensorflow"):
    sys.modules[name] = None
from ai_edge_litert.interpreter import Interpreter
import numpy as np
folder = sys.argv[1]
data = np.load(f"{folder}/data.npz")
interpreter = Interpreter(f"{folder}/model.tflite")
interpreter.allocate_tensors()
(given,) = interpreter.get_input_details()
(result,) = interpreter.get_output_details()
assert given["dtype"] is result["dtype"] is np.int8
scale, zero = given["quantization"]
for x, y in zip(data["x"], data["y"]):
    steps = np.clip(np.round(x / np.float32(scale)) + zero, -128, 127)
    interpreter.set_tensor(given["index"], steps[None].astype(np.int8))
    interpreter.invoke()
    np.testing.assert_array_equal(
        interpreter.get_tensor(result["index"])[0], y)
""",
        tmp_path,
    )
