# %% [markdown]
# # Balance a pole by Q-learning, and ship the policy in eight bits
#
# A network learns what each action is worth (Mnih et al. 2015). Three things
# make that steady:
#
# - It learns from past steps, of which those that surprised it most are drawn
#   more often: prioritized replay (Schaul et al. 2016).
# - It chooses the next action, and a slower copy says what that is worth:
#   double Q-learning (van Hasselt et al. 2016).
# - One part of it says what a state is worth, another by how much actions
#   differ: a dueling network (Wang et al. 2016).
#
# Needs gymnasium, as in `pip install '.[examples]'`.

# %%
import gymnasium
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import kbp

STEPS, WARM_UP, BATCH, HELD, DISCOUNT = 30_000, 500, 64, 20_000, 0.99
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
environment = gymnasium.make("CartPole-v1")
numbers = environment.observation_space.shape[0]
actions = int(environment.action_space.n)

# %% [markdown]
# ## 1. Two networks
#
# Angles are small beside velocities. The first layer gives all numbers one
# scale; it stays in float, so each has 256 values of its own in eight bits.

# %%
SCALES = np.array([1.0, 1.0, 0.1, 1.0])


def network():
    inputs = keras.Input((numbers,))
    x = keras.layers.Normalization(mean=np.zeros(4), variance=SCALES**2)(inputs)
    x = keras.layers.Dense(64, "relu")(x)
    x = keras.layers.Dense(64, "relu")(x)
    worth = keras.layers.Dense(1, name="worth")(x)
    better = keras.layers.Dense(actions, name="better")(x)
    return keras.Model(inputs, [worth, better])


def values(model, observations):
    worth, better = model(observations)
    return worth + better - tf.reduce_mean(better, axis=1, keepdims=True)


online, slow = network(), network()
slow.set_weights(online.get_weights())

# %% [markdown]
# ## 2. Past steps
#
# A step is drawn with a probability that goes with a power of its error, and
# counts the less for it: weights undo the unequal drawing.


# %%
class Replay:
    def __init__(self, size, power=0.6):
        self.steps = {
            "before": np.zeros((size, numbers), "float32"),
            "action": np.zeros(size, "int32"),
            "reward": np.zeros(size, "float32"),
            "after": np.zeros((size, numbers), "float32"),
            "ended": np.zeros(size, "float32"),
        }
        self.priorities = np.zeros(size)
        self.size, self.power, self.count = size, power, 0

    def add(self, **step):
        place = self.count % self.size  # that of the oldest
        for name, value in step.items():
            self.steps[name][place] = value
        self.priorities[place] = max(1.0, self.priorities.max())
        self.count += 1

    def draw(self, count, undone):
        sums = np.cumsum(self.priorities[: self.count] ** self.power)
        drawn = rng.uniform(0, sums[-1], count)
        places = np.searchsorted(sums, drawn, side="right")
        places = np.minimum(places, len(sums) - 1)
        weights = self.priorities[places] ** (-self.power * undone)
        steps = {name: held[places] for name, held in self.steps.items()}
        return places, steps, (weights / weights.max()).astype("float32")


# %% [markdown]
# ## 3. A training step
#
# The optimizer takes gradients and variables wherever there is a tape. The slow
# network moves a little towards the other each time.

# %%
optimizer = kbp.HybridOptimizer(
    keras.optimizers.schedules.CosineDecay(1e-3, STEPS, alpha=0.1),
    global_clipnorm=10.0,
)
optimizer.build(online.trainable_variables)


@tf.function(jit_compile=True)
def learn(steps, weights):
    chosen = tf.argmax(values(online, steps["after"]), axis=1)
    worth = tf.gather(values(slow, steps["after"]), chosen, batch_dims=1)
    goal = steps["reward"] + DISCOUNT * (1 - steps["ended"]) * worth
    with tf.GradientTape() as tape:
        found = values(online, steps["before"])
        error = tf.gather(found, steps["action"], batch_dims=1) - goal
        size = tf.abs(error)
        # Huber's loss, whose slope is bounded.
        huber = tf.where(size < 1, 0.5 * size**2, size - 0.5)
        loss = tf.reduce_mean(weights * huber)
    variables = online.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    for late, now in zip(slow.weights, online.weights, strict=True):
        late.assign_add(0.005 * (now - late))
    return size


# %% [markdown]
# ## 4. Train
#
# The share of actions by chance falls to 5 %. Every 1,000 steps the network
# plays ten episodes by itself; the best one is kept. An episode that is cut
# after 500 steps has not ended badly.


# %%
def mean_return(policy, episodes, seed):
    trial = gymnasium.make("CartPole-v1")
    total = 0.0
    for episode in range(episodes):
        observation, _ = trial.reset(seed=seed + episode)
        over = False
        while not over:
            action = int(np.argmax(policy(observation[None])))
            observation, reward, ended, cut, _ = trial.step(action)
            total, over = total + float(reward), ended or cut
    return total / episodes


policy = keras.Model(online.inputs, online.outputs[1], name="policy")
greedy = tf.function(policy)
replay, best, curve = Replay(HELD), policy.get_weights(), []
observation, _ = environment.reset(seed=0)
for step in range(STEPS):
    if rng.random() < max(0.05, 1 - 5 * step / STEPS):
        action = int(rng.integers(actions))
    else:
        action = int(np.argmax(greedy(observation[None])))
    after, reward, ended, cut, _ = environment.step(action)
    replay.add(
        before=observation,
        action=action,
        reward=reward,
        after=after,
        ended=ended,
    )
    observation = environment.reset()[0] if ended or cut else after
    if step >= WARM_UP:
        undone = 0.4 + 0.6 * step / STEPS
        places, steps, weights = replay.draw(BATCH, undone)
        replay.priorities[places] = learn(steps, weights).numpy() + 1e-3
    if step % 1000 == 999:
        curve.append(mean_return(greedy, 10, seed=10_000))
        if curve[-1] == max(curve):
            best = policy.get_weights()
        if curve[-1] == 500:
            break
policy.set_weights(best)
plt.figure(figsize=(5, 2.5))
plt.plot(1 + np.arange(len(curve)), curve)
plt.xlabel("thousand steps")
plt.ylabel("mean return")
plt.show()

# %% [markdown]
# ## 5. Eight bits
#
# Only the differences between actions choose one. What all of them have in
# common would take most of the 256 values of the output, so it is taken out of
# the last layer. In fake eight bits the policy then learns from itself, on the
# observations that it met.

# %%
kernel, bias = policy.layers[-1].get_weights()
kernel -= kernel.mean(axis=1, keepdims=True)
policy.layers[-1].set_weights([kernel, bias - bias.mean()])
met = replay.steps["before"][: replay.count]
taught = policy.predict(met, verbose=0)
quantized = kbp.quantization.quantize_aware(policy, calibration_data=met)
quantized.compile(kbp.HybridOptimizer(1e-3), "mse")
quantized.fit(met, taught, batch_size=BATCH, epochs=30, verbose=0)
kbp.export.to_tflite(quantized, "policy_int8.tflite")
runner = kbp.export.Runner("policy_int8.tflite")

# %%
float32 = mean_return(greedy, 100, seed=0)
int8 = mean_return(runner.predict, 100, seed=0)
print(f"mean return of 100 episodes: {float32:.1f}, in eight bits {int8:.1f}")
