# %% [markdown]
# # Gradients: are they right, and do they arrive?
#
# First a layer of one's own whose gradient is wrong, then two networks that
# hardly learn, and what a monitor says of them.

# %%
import keras
from sklearn.datasets import load_digits

import kbp

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

# %% [markdown]
# ## 1. Are they right?
#
# `check_layer` compares what backpropagation gives with central differences.
# This layer forgets a part of its gradient:

# %%
from keras import ops


class Forgetful(keras.layers.Layer):
    """Multiply the inputs with themselves, and count one factor as fixed."""

    def call(self, inputs):
        return inputs * ops.stop_gradient(inputs)


right = kbp.diagnostics.check_layer(keras.layers.Dense(3), (4, 5))
wrong = kbp.diagnostics.check_layer(Forgetful(), (4, 5))
print(right)
print(wrong)

# %% [markdown]
# ## 2. Do they arrive?
#
# Ten layers of sigmoids make a gradient shorter from layer to layer. The
# monitor is a callback, and changes nothing of the training.


# %%
def monitored(activation):
    """Train ten layers, and return the accuracy and the monitor."""
    model = keras.Sequential([keras.Input((64,))])
    for _ in range(10):
        model.add(keras.layers.Dense(32, activation=activation))
    model.add(keras.layers.Dense(10))
    model.compile(kbp.HybridOptimizer(1e-3), loss, metrics=["accuracy"])
    monitor = kbp.diagnostics.GradientMonitor(every=20)
    model.fit(x, y, epochs=5, callbacks=[monitor], verbose=0)
    return model.evaluate(x, y, verbose=0)[1], monitor


sigmoid, vanishing = monitored("sigmoid")
relu, arriving = monitored("relu")
print(f"sigmoid: {sigmoid:.1%} right, and the monitor says:")
print(*vanishing.warnings, sep="\n")
print(f"ReLU: {relu:.1%} right, {len(arriving.warnings)} warnings")

# %%
warned = float(bool(vanishing.warnings) and not arriving.warnings)
caught = float(right.passed and not wrong.passed)
