# %% [markdown]
# # A classifier of your own, from Keras to eight bits
#
# A Keras model and arrays are all that it takes. The data are 1,797 handwritten
# digits of 8x8 pixels, which come with scikit-learn.

# %%
import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kbp

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x = (x.reshape(-1, 8, 8, 1) / 16).astype("float32")
x, test_x, y, test_y = train_test_split(
    x, y, test_size=360, stratify=y, random_state=0
)

# %% [markdown]
# ## 1. Train
#
# Any functional or Sequential model does. `HybridOptimizer` is a Keras
# optimizer; with `matrix_steps` it takes orthogonalized momentum.

# %%
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ],
    name="digits",
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = kbp.HybridOptimizer(1e-2, matrix_steps=True)
model.compile(optimizer, loss, metrics=["accuracy"])
model.fit(x, y, epochs=5, verbose=0)
trained = model.evaluate(test_x, test_y, verbose=0)[1]
print(f"trained: {trained:.1%} of the test digits")

# %% [markdown]
# ## 2. Prune while it trains on
#
# Masks on channels close until 60 % of the parameters are gone. `shrink` then
# builds a smaller network of plain Keras layers.

# %%
masked = kbp.sparsity.apply_dtm(model, granularity="channel")
masked.compile(kbp.HybridOptimizer(1e-3), loss, metrics=["accuracy"])
schedule = kbp.sparsity.DTMSchedule(0.6, measure="parameters")
masked.fit(x, y, epochs=12, callbacks=[schedule], verbose=0)
small = kbp.sparsity.shrink(masked)
small.compile(loss=loss, metrics=["accuracy"])
pruned = small.evaluate(test_x, test_y, verbose=0)[1]
gone = 1 - small.count_params() / model.count_params()
print(f"pruned: {pruned:.1%}, and {gone:.0%} of the parameters are gone")

# %% [markdown]
# ## 3. Eight bits
#
# `quantize_aware` rounds in training what integers will round on the device.

# %%
quantized = kbp.quantization.quantize_aware(small, calibration_data=x[:256])
quantized.compile(kbp.HybridOptimizer(1e-4), loss, metrics=["accuracy"])
quantized.fit(x, y, epochs=2, verbose=0)
kbp.export.to_tflite(quantized, "digits_int8.tflite")

# %% [markdown]
# ## 4. Check the file
#
# `verify` compares LiteRT's outputs with the model's, in integer steps.

# %%
check = kbp.export.verify(quantized, "digits_int8.tflite", test_x)
print(f"{check.within_one:.1%} of the outputs are within one step")
outputs = kbp.export.Runner("digits_int8.tflite").predict(test_x)
int8 = float((outputs.argmax(axis=1) == test_y).mean())
print(f"int8 file: {int8:.1%} of the test digits")
