"""Balance a pole by Q-learning, and ship the policy in eight bits.

A network learns what each action is worth (Mnih et al. 2015) from past steps,
of which those that surprised it most are drawn more often (Schaul et al. 2016).
Double Q-learning (van Hasselt et al. 2016) keeps the values from growing out of
bounds: one network chooses the next action, a slower copy says what it is
worth.

Eight bits are 256 values for each tensor. Actions here differ by one part in a
hundred of what they are worth, so the network is a dueling one (Wang et al.
2016): one part says what a state is worth, the other by how much actions
differ, and that one is the policy to ship. Angles are small beside velocities,
so the first layer, which stays in float, gives all of them one scale.

Needs gymnasium, as in kbp[examples]. Some minutes on two cores.
"""

import argparse
from pathlib import Path

import gymnasium
import keras
import numpy as np
import tensorflow as tf

import kbp

DISCOUNT = 0.99
GOOD = 195.0  # mean return of 100 episodes that count as solved
LONGEST = 500  # steps of an episode
# About how large positions, velocities, angles and their velocities are.
SCALES = np.array([1.0, 1.0, 0.1, 1.0])


class PrioritizedReplay:
    """Past steps, drawn by how wrong the network was about them.

    Args:
        size: steps that are held; a new one takes the oldest one's place.
        observations: numbers in an observation.
        alpha: power of the priorities, 0 for equal ones.
    """

    def __init__(self, size: int, observations: int, alpha: float = 0.6):
        shapes = {
            "before": (observations,),
            "action": (),
            "reward": (),
            "after": (observations,),
            "ended": (),
        }
        self.held = {
            name: np.zeros((size, *shape), "float32")
            for name, shape in shapes.items()
        }
        self.priorities = np.zeros(size)
        self.size, self.alpha, self.count = size, alpha, 0

    def add(self, **step: np.ndarray | float) -> None:
        """Hold a step, at the highest priority until it was drawn."""
        place = self.count % self.size
        for name, values in self.held.items():
            values[place] = step[name]
        self.priorities[place] = max(1.0, self.priorities.max())
        self.count += 1

    def draw(self, count: int, beta: float, rng: np.random.Generator) -> tuple:
        """Return places, steps and weights that undo the unequal drawing.

        Args:
            count: steps to draw.
            beta: how far it is undone, 1 for wholly.
            rng: draws them.
        """
        powers = self.priorities[: self.count] ** self.alpha
        sums = np.cumsum(powers)
        drawn = rng.uniform(0, sums[-1], count)
        places = np.searchsorted(sums, drawn, side="right")
        places = np.minimum(places, len(powers) - 1)
        weights = (powers[places] * len(powers) / sums[-1]) ** -beta
        steps = {name: values[places] for name, values in self.held.items()}
        return places, steps, (weights / weights.max()).astype("float32")


def make_network(environment: gymnasium.Env) -> keras.Model:
    """Return a network from observations to what actions are worth.

    Its outputs are the worth of the state `(batch, 1)`, and by how much each
    action is better `(batch, actions)`.
    """
    actions = int(environment.action_space.n)
    inputs = keras.Input(environment.observation_space.shape)
    scaled = keras.layers.Normalization(mean=np.zeros(4), variance=SCALES**2)
    hidden = keras.layers.Dense(64, "relu")(scaled(inputs))
    hidden = keras.layers.Dense(64, "relu")(hidden)
    worth = keras.layers.Dense(1, name="worth")(hidden)
    better = keras.layers.Dense(actions, name="better")(hidden)
    return keras.Model(inputs, [worth, better])


def values(network: keras.Model, observations: tf.Tensor) -> tf.Tensor:
    """Return what each action is worth, `(batch, actions)`."""
    worth, better = network(observations)
    return worth + better - tf.reduce_mean(better, axis=1, keepdims=True)


class Learner:
    """Two networks, and the step that trains one of them.

    Args:
        environment: to act in.
        learning_rate: at the start; a cosine leads to a tenth of it.
        steps: in all.
    """

    def __init__(
        self, environment: gymnasium.Env, learning_rate: float, steps: int
    ):
        self.online, self.slow = (make_network(environment) for _ in range(2))
        self.slow.set_weights(self.online.get_weights())
        schedule = keras.optimizers.schedules.CosineDecay(
            learning_rate, steps, alpha=0.1
        )
        self.optimizer = kbp.HybridOptimizer(schedule, global_clipnorm=10.0)
        self.optimizer.build(self.online.trainable_variables)
        self.outputs = tf.function(self.online)

    def best(self, observation: np.ndarray) -> int:
        """Return the action that is worth most."""
        _, better = self.outputs(observation[None])
        return int(np.argmax(better[0]))

    @tf.function
    def learn(self, steps: dict, weights: tf.Tensor) -> tf.Tensor:
        """Take a step, and return how wrong each value was."""
        after = steps["after"]
        chosen = tf.argmax(values(self.online, after), axis=1)
        worth = values(self.slow, after)
        worth = tf.gather(worth, chosen, axis=1, batch_dims=1)
        goal = steps["reward"] + DISCOUNT * (1 - steps["ended"]) * worth
        actions = tf.cast(steps["action"], "int32")
        with tf.GradientTape() as tape:
            found = values(self.online, steps["before"])
            found = tf.gather(found, actions, axis=1, batch_dims=1)
            error = found - goal
            # Huber's loss, whose slope is bounded.
            size = tf.abs(error)
            huber = tf.where(size < 1, 0.5 * size**2, size - 0.5)
            loss = tf.reduce_mean(weights * huber)
        variables = self.online.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return size

    def follow(self, share: float) -> None:
        """Move the slow network towards the other."""
        for slow, fast in zip(
            self.slow.weights, self.online.weights, strict=True
        ):
            slow.assign_add(share * (fast - slow))


def returns(policy, episodes: int, seed: int) -> np.ndarray:
    """Return the return of each episode.

    Args:
        policy: from an observation to an action.
        episodes: how many.
        seed: of the first one's start.
    """
    environment = gymnasium.make("CartPole-v1")
    found = []
    for episode in range(episodes):
        observation, _ = environment.reset(seed=seed + episode)
        total, over = 0.0, False
        while not over:
            observation, reward, ended, cut, _ = environment.step(
                policy(observation)
            )
            total, over = total + float(reward), ended or cut
        found.append(total)
    return np.array(found)


def train(seed: int, steps: int) -> tuple[keras.Model, np.ndarray]:
    """Train a policy, and return it with observations that it met.

    The networks are tried every 1,000 steps; the best of them is returned.
    """
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    environment = gymnasium.make("CartPole-v1")
    replay = PrioritizedReplay(20_000, environment.observation_space.shape[0])
    learner = Learner(environment, 1e-3, steps)
    best, weights = -np.inf, learner.online.get_weights()
    observation, _ = environment.reset(seed=seed)
    for step in range(steps):
        explored = rng.random() < max(0.05, 1 - step / (0.2 * steps))
        action = (
            int(rng.integers(environment.action_space.n))
            if explored
            else learner.best(observation)
        )
        after, reward, ended, cut, _ = environment.step(action)
        # An episode that is cut after 500 steps has not ended badly.
        replay.add(
            before=observation,
            action=action,
            reward=reward,
            after=after,
            ended=ended,
        )
        observation = after
        if ended or cut:
            observation, _ = environment.reset()
        if step < 500:
            continue
        places, drawn, importance = replay.draw(
            64, 0.4 + 0.6 * step / steps, rng
        )
        errors = learner.learn(drawn, importance)
        replay.priorities[places] = errors.numpy() + 1e-3
        if step % 10 == 0:
            learner.follow(0.05)
        if step % 1000 == 999:
            mean = returns(learner.best, 10, seed=10_000).mean()
            print(f"step {step + 1:6,}: mean return {mean:.1f}", flush=True)
            if mean >= best:
                best, weights = mean, learner.online.get_weights()
            if mean >= LONGEST:
                break
    learner.online.set_weights(weights)
    network, count = learner.online, min(replay.count, replay.size)
    policy = keras.Model(network.inputs, network.outputs[1], name="policy")
    return policy, replay.held["before"][:count]


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train, export and judge a policy; return both mean returns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("policy_int8.tflite"))
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    policy, observations = train(chosen.seed, chosen.steps)
    quantized = kbp.quantization.quantize(policy, observations)
    kbp.export.to_tflite(quantized, chosen.out)
    runner = kbp.export.Runner(chosen.out)
    outputs = {"float32": tf.function(policy), "int8": runner.predict}
    found = {
        name: returns(lambda x, f=f: int(np.argmax(f(x[None]))), 100, seed=0)
        for name, f in outputs.items()
    }
    for name, each in found.items():
        print(f"{name}: mean return {each.mean():.1f} of 100 episodes")
    return {name: float(each.mean()) for name, each in found.items()}


if __name__ == "__main__":
    main()
