"""A task that only a gradient over all of a sequence can teach."""

import keras
import numpy as np

from kbp.layers import TruncatedRNN

LENGTH, SYMBOLS = 200, 4
_BATCH, _WIDTH, _UPDATES = 64, 16, 400


def sequences(count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw sequences of symbols, of which the first one is to be recalled.

    Args:
        count: of sequences.
        rng: draws them.

    Returns:
        Inputs `(count, LENGTH, SYMBOLS + 1)`, the last feature a mark of the
        first step; and the first symbols `(count,)`.
    """
    symbols = rng.integers(SYMBOLS, size=(count, LENGTH))
    inputs = np.zeros((count, LENGTH, SYMBOLS + 1), "float32")
    inputs[..., :SYMBOLS] = np.eye(SYMBOLS)[symbols]
    inputs[:, 0, SYMBOLS] = 1
    return inputs, symbols[:, 0]


def loss_after(steps: int, seed: int, updates: int = _UPDATES) -> float:
    """Train an LSTM, and return its loss on other sequences.

    Args:
        steps: of truncation.
        seed: of weights and sequences.
        updates: batches to train on.
    """
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    lstm = keras.layers.LSTM(_WIDTH)
    model = keras.Sequential(
        [
            keras.Input((LENGTH, SYMBOLS + 1)),
            TruncatedRNN(lstm, steps),
            keras.layers.Dense(SYMBOLS),
        ]
    )
    # Gates that keep for about as long as a sequence is, and hardly let in.
    bias = np.zeros(4 * _WIDTH, "float32")
    times = np.log(rng.uniform(LENGTH / 2, LENGTH, _WIDTH))
    bias[:_WIDTH], bias[_WIDTH : 2 * _WIDTH] = -times, times
    lstm.cell.bias.assign(bias)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(0.02, clipnorm=1.0)
    model.compile(optimizer, loss, jit_compile=False)
    for _ in range(updates):
        model.train_on_batch(*sequences(_BATCH, rng))
    x, y = sequences(1024, rng)
    return float(model.evaluate(x, y, batch_size=256, verbose=0))
