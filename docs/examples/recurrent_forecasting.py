"""Forecast a day of hourly load by an LSTM or a GRU, stopped in time.

The load has a daily and a weekly cycle, and errors that last for hours. The
network is stopped when examples that it does not train on are forecast no
better, and beside it stand the load of a week before, and a linear forecast.
It leaves in eight bits, its steps as a loop. A minute on two cores.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import Ridge

import kbp

LOOKBACK, HORIZON = 7 * 24, 24


def make_series(days: int, seed: int) -> np.ndarray:
    """Return an hourly load, of mean 0 and a deviation of about 1."""
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    daily = np.sin(2 * np.pi * hours / 24)
    # Mornings are steep, evenings are not; weekends are low.
    daily = daily + 0.4 * np.sin(4 * np.pi * hours / 24 + 1)
    weekend = (hours // 24) % 7 >= 5
    load = daily * np.where(weekend, 0.5, 1.0) - 0.6 * weekend
    error = np.zeros(len(hours))
    for n, drawn in enumerate(rng.normal(0, 0.15, len(hours) - 1)):
        error[n + 1] = 0.9 * error[n] + drawn
    return (load + error).astype("float32")


def windows(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `(examples, LOOKBACK, 1)`, and the `HORIZON` hours behind each."""
    both = np.lib.stride_tricks.sliding_window_view(series, LOOKBACK + HORIZON)
    both = both[::3]  # neighbours say much the same
    return both[:, :LOOKBACK, None], both[:, LOOKBACK:]


def make_network(cell: str) -> keras.Model:
    """Return a network that reads a week and forecasts a day."""
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
    inputs = keras.Input((LOOKBACK, 1))
    # A day of hours is a step: 7 steps are quicker, and easier to learn from.
    days = keras.layers.Reshape((LOOKBACK // 24, 24))(inputs)
    hidden = layer(64)(days)
    hidden = keras.layers.Dropout(0.1)(hidden)
    outputs = keras.layers.Dense(HORIZON)(hidden)
    return keras.Model(inputs, outputs, name=cell)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Return the mean squared error of each forecast, and the epochs run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("load_int8.tflite"))
    parser.add_argument("--cell", choices=("lstm", "gru"), default="lstm")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    keras.utils.set_random_seed(chosen.seed)
    series = make_series(500, chosen.seed)
    parts = np.split(series, [24 * 350, 24 * 420])
    (x, y), validation, (test_x, test_y) = map(windows, parts)
    model = make_network(chosen.cell)
    model.compile(kbp.HybridOptimizer(3e-3, weight_decay=1e-3), "mse")
    stopping = keras.callbacks.EarlyStopping(
        patience=8, restore_best_weights=True
    )
    history = model.fit(
        x,
        y,
        epochs=chosen.epochs,
        validation_data=validation,
        callbacks=[stopping],
        verbose=0,
    )
    quantized = kbp.quantization.quantize(model, x[:512])
    kbp.export.to_tflite(quantized, chosen.out)
    runner = kbp.export.Runner(chosen.out)
    linear = Ridge(1.0).fit(x[..., 0], y)
    forecasts = {
        "a week before": test_x[:, :HORIZON, 0],
        "linear": linear.predict(test_x[..., 0]),
        chosen.cell: model.predict(test_x, verbose=0),
        "int8 file": runner.predict(test_x),
    }
    found = {
        name: float(np.mean((forecast - test_y) ** 2))
        for name, forecast in forecasts.items()
    }
    for name, error in found.items():
        print(f"{name}: mean squared error {error:.3f}")
    epochs = len(history.epoch)
    print(f"stopped after {epochs} of {chosen.epochs} epochs")
    return {**found, "epochs": epochs}


if __name__ == "__main__":
    main()
