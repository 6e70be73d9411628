"""Half precision: right values under mixed policies, refused by name else."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from keras import layers

import kbp
from kbp.quantization import quantize_aware

MIXED = (
    "mixed_float16",
    pytest.param("mixed_bfloat16", marks=pytest.mark.slow),
)
INPUTS = np.random.default_rng(0).normal(size=(64, 8, 8, 2)).astype("float32")
LABELS = (INPUTS.mean((1, 2, 3)) > 0).astype("int32")


def network(policy):
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, padding="same", dtype=policy, name="conv")(inputs)
    x = layers.BatchNormalization(dtype=policy)(x)
    x = layers.ReLU(dtype=policy)(x)
    x = layers.GlobalAveragePooling2D(dtype=policy)(x)
    outputs = layers.Dense(2, dtype=policy, name="logits")(x)
    return keras.Model(inputs, outputs)


def train(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Tracing would take most of the time.
    model.compile(kbp.HybridOptimizer(1e-2), loss, run_eagerly=True)
    model.fit(INPUTS, LABELS, epochs=2, verbose=0, shuffle=False)
    return as_numpy(model(INPUTS))


@pytest.mark.long
@pytest.mark.parametrize("policy", MIXED)
def test_masks_and_eight_bits_train_as_in_float32(policy, tmp_path):
    found = {}
    for name in ("float32", policy):
        keras.utils.set_random_seed(0)
        masked = kbp.sparsity.apply_dtm(network(name), protect_ends=False)
        outputs = [train(masked)]
        quantized = quantize_aware(masked, INPUTS)
        outputs.append(train(quantized))
        found[name] = np.array(outputs, "float64")
    # Eight bits of mantissa, over two epochs.
    gap = np.abs(found[policy] - found["float32"]).max()
    assert gap < 0.1 * np.abs(found["float32"]).max()
    path = tmp_path / "model.tflite"
    kbp.export.to_tflite(quantized, path)
    # The file computes in integers, as the model in float32 would.
    assert kbp.export.verify(quantized, path, INPUTS).within_one > 0.95
    zeros = kbp.sparsity.kernel_sparsity(kbp.sparsity.fix_masks(masked))
    assert 0 <= zeros < 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_other_precision_are_named(dtype, tmp_path):
    model = network(dtype)
    model.compile("adam", "mse")
    for use in (
        lambda: quantize_aware(model, INPUTS),
        lambda: kbp.export.to_tflite(model, tmp_path / "model.tflite"),
        lambda: kbp.compress(model, (INPUTS, LABELS), workdir=tmp_path / "run"),
    ):
        with pytest.raises(ValueError, match=f"conv/kernel is of {dtype}, and"):
            use()
    assert not list(tmp_path.iterdir())


def test_an_optimizer_refuses_what_holds_no_small_squares():
    model = network("float16")
    model.compile(kbp.HybridOptimizer(), "mse")
    with pytest.raises(ValueError, match=r"kernel is of float16, where the sq"):
        model.optimizer.build(model.trainable_variables)
