# %% [markdown]
# # A spiking network of a trained one
#
# What goes from layer to layer of a spiking network are zeros and ones over
# time, so hardware made for it adds weights where a spike comes, and does
# nothing else.

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
# ## 1. Train an ordinary network
#
# Linear layers and ReLU become spiking; max pooling does not.

# %%
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.AveragePooling2D(2),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(kbp.HybridOptimizer(1e-2), loss, metrics=["accuracy"])
model.fit(x, y, epochs=15, verbose=0)
trained = model.evaluate(test_x, test_y, verbose=0)[1]
print(f"trained: {trained:.1%}")

# %% [markdown]
# ## 2. Make it spike
#
# Each ReLU becomes neurons, which run for 32 time steps.

# %%
spiking = kbp.spiking.to_spiking(model, x, timesteps=32)
scores = spiking.predict(test_x, verbose=0)
accuracy = float((scores.argmax(axis=1) == test_y).mean())
print(f"spiking: {accuracy:.1%}")

# %% [markdown]
# ## 3. What it costs
#
# Energy is that of operations alone, by published figures for 45 nm; memory
# and idle neurons are not in it. So small a network costs less if it computes
# once with values than if it adds weights for spikes over 32 steps.

# %%
cost = kbp.spiking.cost(spiking, test_x)
print(f"{cost.total('spikes'):,.0f} spikes for an example")
print(f"{cost.energy * 1e6:.2f} uJ, {cost.dense_energy * 1e6:.2f} uJ of values")
kept = accuracy - trained
