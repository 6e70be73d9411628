# %% [markdown]
# # Few labels: train on from a network that knows similar images
#
# A network of `keras.applications` learns the digits 0 to 4. Then it is to tell
# 5 to 9 apart, of which only ten examples each have labels. With the weights of
# ImageNet, from a file of your own, the steps are the same.

# %%
import keras
import numpy as np
from sklearn.datasets import load_digits

import kbp
from kbp.models.applications import application

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 8, 8, 1) / 16).astype("float32")
images = images.repeat(4, axis=1).repeat(4, axis=2)  # 32x32 pixels
early = labels < 5
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fit(model, x, y, rate, epochs):
    optimizer = kbp.HybridOptimizer(rate, matrix_steps=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)


# %% [markdown]
# ## 1. The network that knows similar images
#
# Its body is a model inside, `"backbone"`, and its weights go to a file.

# %%
build = application("MobileNet")
known = build((32, 32, 1), 5, alpha=0.25)
fit(known, images[early], labels[early], 1e-2, epochs=6)
known.get_layer("backbone").save_weights("backbone.weights.h5")

# %% [markdown]
# ## 2. Ten examples of each new digit
#
# The other 837 are for the test.

# %%
x, y = images[~early], labels[~early] - 5
rng = np.random.default_rng(0)
few = np.concatenate([rng.choice(np.flatnonzero(y == n), 10) for n in range(5)])
rest = np.setdiff1d(np.arange(len(y)), few)

# %% [markdown]
# ## 3. The new head first, then everything
#
# While the head is random, its large gradients would undo what the body knows.

# %%
model = build((32, 32, 1), 5, alpha=0.25, weights="backbone.weights.h5")
model.get_layer("backbone").trainable = False
fit(model, x[few], y[few], 1e-2, epochs=20)
model.get_layer("backbone").trainable = True
fit(model, x[few], y[few], 3e-3, epochs=20)
accuracy = model.evaluate(x[rest], y[rest], verbose=0)[1]

alone = build((32, 32, 1), 5, alpha=0.25)
fit(alone, x[few], y[few], 1e-2, epochs=40)
gained = accuracy - alone.evaluate(x[rest], y[rest], verbose=0)[1]
print(f"{accuracy:.1%} of {len(rest)} digits, {gained:+.1%} by what it knew")

# %% [markdown]
# ## 4. Eight bits
#
# Fifty examples are too few to train on in eight bits: the ranges of the
# activations are read from them, and the file is written.

# %%
rounded = kbp.quantization.quantize_aware(model, x[few])
kbp.export.to_tflite(rounded, "digits.tflite")
logits = kbp.export.Runner("digits.tflite").predict(x[rest])
int8 = np.mean(logits.argmax(axis=-1) == y[rest])
print(f"int8 file: {int8:.1%}")
kept = int8 - accuracy
