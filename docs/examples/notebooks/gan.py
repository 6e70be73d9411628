# %% [markdown]
# # Two networks against each other: a Wasserstein GAN
#
# A generator draws digits; a critic estimates how far they are from real ones,
# as the largest difference that a function of slope 1 can make between the two
# (the Wasserstein distance). A penalty on its gradient holds the slope there
# (Gulrajani et al. 2017). Each has an optimizer of its own.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import kbp

NOISE, PENALTY, CRITIC_STEPS, BATCH = 16, 10.0, 5, 128
keras.utils.set_random_seed(0)
images = load_digits().images[..., None].astype("float32") / 16

# %% [markdown]
# ## 1. The two networks
#
# BatchNormalization has no place in the critic: the penalty is on the gradient
# of each image by itself.

# %%
generator = keras.Sequential(
    [
        keras.Input((NOISE,)),
        keras.layers.Dense(256, "relu"),
        keras.layers.Dense(256, "relu"),
        keras.layers.Dense(64, "sigmoid"),
        keras.layers.Reshape((8, 8, 1)),
    ]
)
critic = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(256, "leaky_relu"),
        keras.layers.Dense(256, "leaky_relu"),
        keras.layers.Dense(1),
    ]
)
optimizers = {
    network: kbp.HybridOptimizer(2e-4, beta_1=0.5, beta_2=0.9)
    for network in (generator, critic)
}
for network, optimizer in optimizers.items():
    optimizer.build(network.trainable_variables)

# %% [markdown]
# ## 2. A step of each
#
# `apply` takes gradients and variables, so an optimizer steps wherever there is
# a tape.


# %%
def difference(real, drawn):
    of_real, of_drawn = tf.split(critic(tf.concat([real, drawn], axis=0)), 2)
    return tf.reduce_mean(of_real) - tf.reduce_mean(of_drawn)


def penalty(real, drawn):
    share = tf.random.uniform((real.shape[0], 1, 1, 1))
    between = share * real + (1 - share) * drawn
    with tf.GradientTape() as tape:
        tape.watch(between)
        values = critic(between)
    slopes = tape.gradient(values, between)
    norms = tf.sqrt(tf.reduce_sum(slopes**2, axis=(1, 2, 3)) + 1e-12)
    return tf.reduce_mean((norms - 1) ** 2)


def step(network, tape, loss):
    variables = network.trainable_variables
    optimizers[network].apply(tape.gradient(loss, variables), variables)


@tf.function(jit_compile=True)
def train_critic(real):
    drawn = generator(tf.random.normal((real.shape[0], NOISE)))
    with tf.GradientTape() as tape:
        loss = PENALTY * penalty(real, drawn) - difference(real, drawn)
    step(critic, tape, loss)


@tf.function(jit_compile=True)
def train_generator():
    with tf.GradientTape() as tape:
        drawn = generator(tf.random.normal((BATCH, NOISE)))
        loss = -tf.reduce_mean(critic(drawn))
    step(generator, tape, loss)


# %% [markdown]
# ## 3. How far the drawn digits are
#
# The estimate is that of a critic that had time to learn, while the generator
# waits.

# %%
rng = np.random.default_rng(0)


def some():
    return tf.constant(images[rng.choice(len(images), BATCH)])


def distance():
    for _ in range(300):
        train_critic(some())
    drawn = generator(tf.random.normal((len(images), NOISE)))
    return float(difference(images, drawn))


before = distance()
for _ in range(3000):
    for _ in range(CRITIC_STEPS):
        train_critic(some())
    train_generator()
after = distance()
fell = 1 - after / before
print(f"Wasserstein distance: {before:.2f} before, {after:.2f} after")

# %% [markdown]
# ## 4. What it draws

# %%
drawn = generator(tf.random.normal((32, NOISE))).numpy()[..., 0]
framed = np.pad(drawn, ((0, 0), (1, 1), (1, 1)))
sheet = np.vstack([np.hstack(framed[n : n + 8]) for n in range(0, 32, 8)])
variety = float(drawn.std(axis=0).max())
ink = float(drawn.mean(axis=(1, 2)).min())
plt.figure(figsize=(4, 2))
plt.imshow(sheet, cmap="gray_r")
plt.axis("off")
plt.show()
