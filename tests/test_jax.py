"""The backend-neutral rooms give the same numbers on JAX."""

import json
import sys

import fresh
import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp.optimizers.synchronized import keras_optimizers

pytest.importorskip("jax")

SCRIPT = """
import sys
import keras, kbp
import numpy as np
folder = sys.argv[1]
data = np.load(f"{folder}/data.npz")
for name in ("transformer", "pyramid", "gated"):
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    x, y = data[f"{name}_x"], data["y"]
    before = model.predict(x, verbose=0)
    if name == "transformer":
        np.savez(f"{folder}/{name}_jax.npz", before=before)
        continue
    schedule = kbp.sparsity.DTMSchedule(0.5, every=1)
    model.fit(x, y, epochs=3, batch_size=8, verbose=0, shuffle=False,
              callbacks=[schedule])
    stripped = kbp.sparsity.strip(model)
    after = stripped.predict(x, verbose=0)
    shrunk = kbp.sparsity.shrink(model)
    np.savez(f"{folder}/{name}_jax.npz", before=before, after=after,
             sparsity=kbp.sparsity.kernel_sparsity(stripped),
             shrunk=shrunk.predict(x, verbose=0),
             parameters=shrunk.count_params())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Train on both backends from the same files."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("jax")
    rng = np.random.default_rng(0)
    data = {"y": rng.integers(0, 3, 32)}
    models = {
        "pyramid": kbp.models.PyramidBPNet((8, 8, 1), 3, width=8),
        "transformer": kbp.models.BPTransformer((6, 5), 3, width=8),
        "gated": kbp.models.PyramidBPNet((8, 8, 1), 3, width=8),
    }
    for name, model in models.items():
        x = rng.random((32, *model.input_shape[1:]), "float32")
        data[f"{name}_x"] = x
        granularity = "channel" if name == "gated" else "element"
        pruned = kbp.sparsity.apply_dtm(model, granularity=granularity)
        pruned.compile(
            kbp.HybridOptimizer(0.001),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        pruned.optimizer.build(pruned.trainable_variables)
        pruned.save(folder / f"{name}.keras")
        before = pruned.predict(x, verbose=0)
        np.savez(folder / f"{name}_tensorflow.npz", before=before)
        if name == "transformer":
            continue
        pruned.fit(
            x,
            data["y"],
            epochs=3,
            batch_size=8,
            verbose=0,
            shuffle=False,
            callbacks=[kbp.sparsity.DTMSchedule(0.5, every=1)],
        )
        stripped = kbp.sparsity.strip(pruned)
        np.savez(
            folder / f"{name}_tensorflow.npz",
            before=before,
            after=as_numpy(stripped(x)),
            sparsity=kbp.sparsity.kernel_sparsity(stripped),
            parameters=kbp.sparsity.shrink(pruned).count_params(),
        )
    np.savez(folder / "data.npz", **data)
    fresh.python(SCRIPT, folder, KERAS_BACKEND="jax")
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [pytest.param("pyramid", marks=pytest.mark.slow), "transformer", "gated"],
)
def test_models_give_tensorflows_outputs(folder, name):
    ours = np.load(folder / f"{name}_tensorflow.npz")
    theirs = np.load(folder / f"{name}_jax.npz")
    np.testing.assert_allclose(theirs["before"], ours["before"], atol=1e-5)


@pytest.mark.parametrize("name", ["pyramid", "gated"])
def test_pruning_while_training_gives_tensorflows_numbers(folder, name):
    ours = np.load(folder / f"{name}_tensorflow.npz")
    theirs = np.load(folder / f"{name}_jax.npz")
    # 12 steps of AMSGrad, whose first steps have the gradient's sign alone:
    # sums in another order move a weight by up to the learning rate.
    np.testing.assert_allclose(theirs["after"], ours["after"], atol=2e-2)
    assert abs(theirs["sparsity"] - ours["sparsity"]) < 0.01
    np.testing.assert_allclose(theirs["shrunk"], theirs["after"], atol=1e-5)
    assert theirs["parameters"] == ours["parameters"]


OPTIMIZE = """
import json, sys
import keras, kbp
import numpy as np
folder, *options = sys.argv[1:]
data = np.load(f"{folder}/in.npz")
results = {}
for number, text in enumerate(options):
    variables = [keras.Variable(data["kernel"]), keras.Variable(data["bias"])]
    optimizer = kbp.HybridOptimizer(0.01, **json.loads(text))
    for step in range(50):
        gradients = [data["kernels"][step], data["biases"][step]]
        if step == 20:
            gradients[1] = np.full_like(gradients[1], np.nan)
        optimizer.apply(
            [keras.ops.array(g, "float32") for g in gradients], variables
        )
    for i, variable in enumerate(variables):
        value = keras.ops.convert_to_numpy(variable)
        results[f"{number}_{i}"] = value
    results[f"{number}_skipped"] = optimizer.skipped_steps
np.savez(f"{folder}/{keras.backend.backend()}.npz", **results)
"""


@pytest.mark.long
def test_optimizer_gives_tensorflows_numbers(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "in.npz",
        kernel=rng.normal(size=(4, 3)),
        bias=rng.normal(size=3),
        kernels=rng.normal(size=(50, 4, 3)),
        biases=rng.normal(size=(50, 3)),
    )
    options = [
        {"weight_decay": 0.1},
        {"amsgrad_decay": 0.9, "preconditioner_power": 0.5, "clipnorm": 0.5},
        {"matrix_steps": [True, False], "gradient_accumulation_steps": 3},
        {"use_ema": True, "ema_overwrite_frequency": 7, "global_clipnorm": 1.0},
    ]
    texts = [json.dumps(option) for option in options]
    fresh.python(OPTIMIZE, tmp_path, *texts, KERAS_BACKEND="jax")
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path), *texts])
    exec(OPTIMIZE, {})
    ours = np.load(tmp_path / "tensorflow.npz")
    theirs = np.load(tmp_path / "jax.npz")
    assert len(ours.files) == 3 * len(options)
    for name in ours.files:
        np.testing.assert_allclose(
            theirs[name], ours[name], rtol=1e-5, atol=1e-5, err_msg=name
        )
    assert all(ours[f"{i}_skipped"] == 1 for i in range(len(options)))


RULES = """
import jax, keras
import numpy as np
from kbp.optimizers import SynchronizedOptimizer
from kbp.optimizers.synchronized import keras_optimizers

rng = np.random.default_rng(0)
start = rng.normal(size=(4, 3)), rng.normal(size=3)
steps = [[rng.normal(size=v.shape).astype("float32") for v in start]
         for _ in range(6)]

def moved(optimizer, steps):
    variables = [keras.Variable(v) for v in start]
    optimizer.build(variables)
    step = jax.jit(optimizer.stateless_apply)
    values = [v.value for v in variables]
    state = [v.value for v in optimizer.variables]
    for gradients in steps:
        values, state = step(state, gradients, values)
    return values

bad = [np.full_like(v, np.nan, dtype="float32") for v in start]
for name, kind in keras_optimizers().items():
    decay = {"weight_decay": 0.1}
    if name == "muon":  # has two decays
        decay = {"weight_decay": 0.0, "adam_weight_decay": 0.0}
    right = moved(kind(0.01, **decay), steps)
    decay.pop("adam_weight_decay", None)
    optimizer = SynchronizedOptimizer(kind(), 0.01, **decay)
    # A step that is not finite is skipped.
    found = moved(optimizer, [*steps[:3], bad, *steps[3:]])
    for a, b in zip(found, right, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, err_msg=name)
    print(name)
"""


@pytest.mark.long
def test_steps_of_keras_optimizers_are_skipped_or_taken_within_a_trace():
    printed = fresh.python(RULES, KERAS_BACKEND="jax")
    assert printed.split() == [*keras_optimizers()]
