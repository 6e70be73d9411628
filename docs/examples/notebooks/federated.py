# %% [markdown]
# # Training by clients who keep their data
#
# Five clients have other digits each: what one has seen least, another knows.
# They train in turn here, in one process; on several machines the same
# functions run, see the guide. It needs `pip install 'kbp[federated]'`.

# %%
import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kbp

x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
x, test_x, y, test_y = train_test_split(
    x, y, test_size=360, stratify=y, random_state=0
)

# %% [markdown]
# ## 1. Who has what
#
# Client `k` has the digits `2k` and `2k + 1`, and no others.

# %%
parts = [np.isin(y, [2 * k, 2 * k + 1]) for k in range(5)]


def partition(node):
    """Return what a client has."""
    own = parts[node["partition-id"]]
    return x[own], y[own]


def build():
    """Return the model that all of them train."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kbp.HybridOptimizer(1e-2), loss, metrics=["accuracy"])
    return model


# %% [markdown]
# ## 2. Alone
#
# A client that trains for itself knows two digits of ten.

# %%
keras.utils.set_random_seed(0)
model = build()
model.fit(*partition({"partition-id": 0}), epochs=20, verbose=0)
alone = model.evaluate(test_x, test_y, verbose=0)[1]
print(f"alone: {alone:.1%}")

# %% [markdown]
# ## 3. Together
#
# In a round each trains for an epoch and sends its weights; the server takes
# their mean. No example leaves its client.

# %%
found = kbp.federated.simulate(build, partition, clients=5, rounds=30)
together = found.model.evaluate(test_x, test_y, verbose=0)[1]
print(f"together, after {len(found.rounds)} rounds: {together:.1%}")
gained = together - alone
