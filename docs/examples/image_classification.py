"""Classify images: train, prune, train in eight bits, export, compare.

Handwritten digits of 8x8 pixels, which come with scikit-learn. A minute on two
cores.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kbp

TARGET = 0.6  # share of the multiply-adds that pruning is to remove


def make_network() -> keras.Model:
    """Return a convolutional network from images `(8, 8, 1)` to 10 classes."""
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(32, 3, padding="same", use_bias=False)(inputs)
    for _ in range(2):
        hidden = keras.layers.BatchNormalization()(hidden)
        before = hidden = keras.layers.ReLU()(hidden)
        conv = keras.layers.Conv2D(32, 3, padding="same", use_bias=False)
        hidden = keras.layers.Add()([before, conv(hidden)])
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    outputs = keras.layers.Dense(10)(pooled)
    return keras.Model(inputs, outputs, name="digits")


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Return the accuracy of each stage, and the share of weights that went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("digits_int8.tflite"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    keras.utils.set_random_seed(chosen.seed)
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8, 1) / 16).astype("float32")
    x, test_x, y, test_y = train_test_split(
        x, y, test_size=360, stratify=y, random_state=chosen.seed
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def fit(model: keras.Model, rate: float, epochs: int, *callbacks) -> float:
        steps = epochs * -(-len(x) // 32)
        schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
        optimizer = kbp.HybridOptimizer(schedule)
        model.compile(optimizer, loss, metrics=["accuracy"])
        model.fit(x, y, epochs=epochs, callbacks=[*callbacks], verbose=0)
        return model.evaluate(test_x, test_y, verbose=0)[1]

    # All channels are added to those of the first layer, so it must be pruned.
    model = kbp.sparsity.apply_dtm(
        make_network(), granularity="channel", protect_ends=False
    )
    weights, epochs = model.count_params(), chosen.epochs
    schedule = kbp.sparsity.DTMSchedule(TARGET, measure="multiply_adds")
    found = {"pruned while trained": fit(model, 3e-3, epochs, schedule)}
    small = kbp.sparsity.shrink(model)
    gone = 1 - small.count_params() / weights
    quantized = kbp.quantization.quantize_aware(small, calibration_data=x[:256])
    found["in fake eight bits"] = fit(quantized, 3e-4, max(1, epochs // 6))
    kbp.export.to_tflite(quantized, chosen.out)
    outputs = kbp.export.Runner(chosen.out).predict(test_x)
    found["int8 file"] = float(np.mean(outputs.argmax(axis=-1) == test_y))
    for name, accuracy in found.items():
        print(f"{name}: {accuracy:.2%}")
    check = kbp.export.verify(quantized, chosen.out, test_x)
    print(
        f"{gone:.0%} of the weights went; {chosen.out.stat().st_size:,} bytes"
    )
    print(f"{check.within_one:.1%} of the outputs within one step of Keras's")
    return {**found, "gone": gone}


if __name__ == "__main__":
    main()
