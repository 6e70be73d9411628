"""Draw digits: a generator and a critic, each with an optimizer of its own.

The critic estimates the Wasserstein distance between real and drawn images, as
the largest difference that a function of slope 1 can make between them; its
slope is held there by a penalty on its gradient (Gulrajani et al. 2017). The
generator makes that distance smaller. Some minutes on two cores.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

import kbp

NOISE, PENALTY, CRITIC_STEPS = 16, 10.0, 5
BATCH = 128


def make_generator() -> keras.Model:
    """Return a network from noise to images `(8, 8, 1)` of 0 to 1."""
    return keras.Sequential(
        [
            keras.Input((NOISE,)),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dense(64, "sigmoid"),
            keras.layers.Reshape((8, 8, 1)),
        ],
        name="generator",
    )


def make_critic() -> keras.Model:
    """Return a network from images to numbers, larger for real ones."""
    # BatchNormalization has no place here: the penalty is on the gradient of
    # each image by itself.
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(256, "leaky_relu"),
            keras.layers.Dense(256, "leaky_relu"),
            keras.layers.Dense(1),
        ],
        name="critic",
    )


class WassersteinGAN(keras.Model):
    """A generator and a critic, trained in alternation by `fit`.

    Args:
        generator: from noise to images.
        critic: from images to numbers.
    """

    def __init__(self, generator: keras.Model, critic: keras.Model):
        super().__init__()
        self.generator, self.critic = generator, critic
        self.distance = keras.metrics.Mean(name="distance")
        self.seed = keras.random.SeedGenerator(0)

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        critic_optimizer: keras.optimizers.Optimizer,
    ) -> None:
        """Take an optimizer for each of the two."""
        super().compile()
        self.generator_optimizer = generator_optimizer
        self.critic_optimizer = critic_optimizer
        generator_optimizer.build(self.generator.trainable_variables)
        critic_optimizer.build(self.critic.trainable_variables)

    @property
    def metrics(self) -> list:
        return [self.distance]

    def noise(self, count: int) -> tf.Tensor:
        """Return what images are made of, `(count, NOISE)`."""
        return keras.random.normal((count, NOISE), seed=self.seed)

    def difference(self, real: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Return the critic's estimate of the Wasserstein distance."""
        values = self.critic(tf.concat([real, drawn], axis=0))
        of_real, of_drawn = tf.split(values, 2)
        return tf.reduce_mean(of_real) - tf.reduce_mean(of_drawn)

    def penalty(self, real: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """Return how far the critic's slope between images is from 1."""
        share = keras.random.uniform((real.shape[0], 1, 1, 1), seed=self.seed)
        between = share * real + (1 - share) * drawn
        with tf.GradientTape() as tape:
            tape.watch(between)
            values = self.critic(between)
        slopes = tape.gradient(values, between)
        norms = tf.sqrt(tf.reduce_sum(slopes**2, axis=(1, 2, 3)) + 1e-12)
        return tf.reduce_mean((norms - 1) ** 2)

    def train_critic(self, real: tf.Tensor) -> None:
        """Take a step of the critic alone."""
        drawn = self.generator(self.noise(real.shape[0]))
        with tf.GradientTape() as tape:
            distance = self.difference(real, drawn)
            loss = PENALTY * self.penalty(real, drawn) - distance
        variables = self.critic.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.critic_optimizer.apply(gradients, variables)
        self.distance.update_state(distance)

    def train_generator(self, count: int) -> None:
        """Take a step of the generator alone."""
        with tf.GradientTape() as tape:
            drawn = self.generator(self.noise(count), training=True)
            loss = -tf.reduce_mean(self.critic(drawn))
        variables = self.generator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.generator_optimizer.apply(gradients, variables)

    def train_step(self, data: tf.Tensor) -> dict:
        # Each step has a batch for each of the critic's.
        for real in tf.split(data, CRITIC_STEPS):
            self.train_critic(real)
        self.train_generator(BATCH)
        return self.get_metrics_result()


def estimate(gan: WassersteinGAN, images: np.ndarray, steps: int) -> float:
    """Return the distance as a critic sees it that had time to learn.

    Args:
        gan: its critic goes on learning, its generator does not.
        images: real ones.
        steps: of the critic.
    """
    train = tf.function(gan.train_critic)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        train(tf.constant(images[rng.choice(len(images), BATCH)]))
    drawn = gan.generator(gan.noise(len(images)))
    return float(gan.difference(images, drawn))


def plot(images: np.ndarray, path: Path) -> None:
    """Draw a sheet of 8 x 8 images, dark on white."""
    framed = np.pad(images[..., 0], ((0, 0), (1, 1), (1, 1)))
    rows = [np.hstack(framed[8 * n : 8 * n + 8]) for n in range(8)]
    sheet = np.kron(np.vstack(rows), np.ones((8, 8)))
    Image.fromarray((255 * (1 - sheet)).astype("uint8")).save(path)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, draw a sheet, and return the distance before and after."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("digits.png"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    keras.utils.set_random_seed(chosen.seed)
    images = load_digits().images[..., None].astype("float32") / 16
    gan = WassersteinGAN(make_generator(), make_critic())
    gan.compile(
        *(
            kbp.HybridOptimizer(rate, beta_1=0.5, beta_2=0.9)
            for rate in (2e-4, 2e-4)
        )
    )
    before = estimate(gan, images, 300)
    batches = tf.data.Dataset.from_tensor_slices(images).repeat()
    batches = batches.shuffle(len(images), seed=chosen.seed)
    batches = batches.batch(CRITIC_STEPS * BATCH, drop_remainder=True)
    history = gan.fit(
        batches,
        steps_per_epoch=100,
        epochs=chosen.steps // 100,
        verbose=2,
        shuffle=False,
    )
    after = estimate(gan, images, 300)
    plot(gan.generator(gan.noise(64)).numpy(), chosen.out)
    print(f"Wasserstein distance: {before:.3f} before, {after:.3f} after")
    return {"before": before, "after": after, **history.history}


if __name__ == "__main__":
    main()
