"""Rounds of small compiled models: what counts, and what is left out."""

import keras
import numpy as np
import pytest
from flwr.clientapp.mod import LocalDpMod

import kbp
from kbp.errors import UserError
from kbp.federated.flower import RecordDict
from kbp.federated.local import LocalGrid
from kbp.federated.records import ARRAYS, arrays_of, as_record
from kbp.federated.simulation import run_model
from kbp.federated.strategies.registry import STRATEGIES
from kbp.federated.strategy import restore, state_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4)).astype("float32")
Y = (X @ RNG.normal(size=(4, 3))).argmax(axis=1)


def build(optimizer="adam", batch_norm=False):
    keras.utils.set_random_seed(7)
    layers = [keras.Input((4,)), keras.layers.Dense(8)]
    if batch_norm:
        layers.append(keras.layers.BatchNormalization(momentum=0.9))
    layers += [keras.layers.ReLU(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    model.compile(
        keras.optimizers.get(
            {"class_name": optimizer, "config": {"learning_rate": 0.02}}
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def partition(clients):
    def own(node):
        chosen = slice(node["partition-id"], None, clients)
        return {
            "train": (X[chosen], Y[chosen]),
            "validation": (X[chosen][:7], Y[chosen][:7]),
        }

    return own


def run(clients=4, rounds=3, make=build, **options):
    return kbp.federated.simulate(
        make, partition(clients), clients=clients, rounds=rounds, **options
    )


def weights(found):
    return np.concatenate([w.ravel() for w in found.model.get_weights()])


@pytest.mark.long
def test_clients_together_learn():
    found = run(rounds=12, local_epochs=2)
    first, last = found.rounds[0], found.rounds[-1]
    assert last.metrics["loss"] < 0.5 * first.metrics["loss"]
    assert found.model.evaluate(X, Y, verbose=0)[1] > 0.9
    assert [x["client"] for x in last.clients] == [
        *("client 0", "client 1", "client 2", "client 3")
    ]
    assert {x["examples"] for x in last.clients} == {60}
    assert all(x["val_loss"] > 0 for x in last.clients)
    assert not last.left_out
    few = [weights(run(rounds=2)) for _ in range(2)]
    np.testing.assert_array_equal(*few)


@pytest.mark.long
def test_a_round_is_the_mean_of_its_clients():
    """FedAvg by hand: each client's training, weighted by its examples."""

    def own(node):
        part = slice(0, 40) if node["partition-id"] else slice(40, 240)
        return X[part], Y[part]

    found = kbp.federated.simulate(
        lambda: build("SGD"), own, clients=2, rounds=1, batch_size=240
    )
    wanted = 0.0
    for client, share in ((0, 200 / 240), (1, 40 / 240)):
        model, (x, y) = build("SGD"), own({"partition-id": client})
        model.fit(x, y, batch_size=240, shuffle=False, verbose=0)
        flat = np.concatenate([w.ravel() for w in model.get_weights()])
        wanted = wanted + share * flat
    np.testing.assert_allclose(weights(found), wanted, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("name", [*STRATEGIES])
def test_every_strategy_runs_and_keeps_its_state(name):
    found = run(
        clients=7, rounds=3, strategy=name, make=lambda: build(batch_norm=True)
    )
    assert len(found.rounds) == 3
    assert np.isfinite(weights(found)).all()
    variance = found.model.layers[1].moving_variance.numpy()
    assert (variance > 0).all()
    assert not np.array_equal(
        weights(found),
        np.concatenate(
            [w.ravel() for w in build(batch_norm=True).get_weights()]
        ),
    )


@pytest.mark.long
def test_a_strategys_state_comes_back():
    from kbp.federated.strategy import make_strategy
    from kbp.recipes.federated import FederatedRecipe

    app = kbp.federated.client_app(build, partition(2))
    for name, norm in (
        *((x, None) for x in ("fedavg", "fedavgm", "fedyogi", "fedadagrad")),
        ("fedadam", 1.0),  # within what clips and adds noise
    ):
        section = FederatedRecipe(clients=2, strategy=name, clipping_norm=norm)
        options = {
            "clients": 2,
            "local_epochs": 1,
            "longest_update": 0.0,
            "seed": 0,
        }
        strategy = make_strategy(section)
        assert state_of(strategy) == {}
        run_model(
            build, LocalGrid(app, 2), rounds=2, strategy=strategy, **options
        )
        state, fresh = state_of(strategy), make_strategy(section)
        restore(fresh, state)
        again = state_of(fresh)
        assert {*again} == {*state}, name
        for key, array in state.items():
            np.testing.assert_array_equal(array, again[key])
        assert bool(state) == (name != "fedavg")


def test_proximal_term_holds_clients_near():
    moved = {}
    for mu in (0.0, 10.0):
        found = kbp.federated.simulate(
            lambda: build("SGD"),
            partition(2),
            clients=2,
            rounds=1,
            local_epochs=5,
            strategy=STRATEGIES["fedprox"](
                {"min_train_nodes": 2}, proximal_mu=mu
            ),
        )
        start = np.concatenate([w.ravel() for w in build().get_weights()])
        moved[mu] = np.linalg.norm(weights(found) - start)
    assert moved[10.0] < 0.7 * moved[0.0]


def test_proximal_gradient_is_that_of_the_formula():
    from kbp.federated.learner import Trained

    trained = Trained(build("SGD"))
    trained.hold_near(4.0)
    model = trained.model
    before = [v.numpy() for v in model.trainable_variables]
    for v in model.trainable_variables:
        v.assign_add(0.1 * np.ones(v.shape))
    plain = model.loss(Y[:9], model(X[:9]))
    with_term = model.compute_loss(X[:9], Y[:9], model(X[:9]))
    size = sum(v.size for v in before)
    assert float(with_term - plain) == pytest.approx(2.0 * 0.01 * size, 1e-4)
    judged = model.compute_loss(X[:9], Y[:9], model(X[:9]), training=False)
    assert float(judged) == pytest.approx(float(plain))


def damaged(change):
    """Return a mod that changes what client 2 answers."""

    def mod(message, context, call_next):
        if context.node_config["partition-id"] != 2:
            return call_next(message, context)
        return change(message, context, call_next)

    return mod


def _raise(message, context, call_next):
    raise RuntimeError("the disk is gone\nand more")


def _arrays(make):
    def change(message, context, call_next):
        reply = call_next(message, context)
        found = make(arrays_of(reply))
        reply.content.array_records[ARRAYS] = as_record(found)
        return reply

    return change


def _nothing(message, context, call_next):
    reply = call_next(message, context)
    reply.content = RecordDict()
    return reply


def _no_example(message, context, call_next):
    reply = call_next(message, context)
    reply.content["metrics"]["num-examples"] = 0
    return reply


def _variances(message, context, call_next):
    reply = call_next(message, context)
    found = arrays_of(reply)
    name = next(k for k in found if k.endswith("moving_variance"))
    found[name] = -found[name]
    reply.content.array_records[ARRAYS] = as_record(found)
    return reply


def _statistics(message, context, call_next):
    reply = call_next(message, context)
    found = arrays_of(reply)
    name = next(k for k in found if k.endswith("moving_variance"))
    found[name] = 1e6 * found[name]
    reply.content.array_records[ARRAYS] = as_record(found)
    return reply


@pytest.mark.long
@pytest.mark.parametrize("update", ["float32", "int8"])
@pytest.mark.parametrize(
    ("change", "words"),
    [(_variances, "of less than 0"), (_statistics, "as long as the median")],
)
def test_bad_statistics_are_left_out_by_name(change, words, update):
    found = run(
        rounds=1,
        mods=[damaged(change)],
        update=update,
        make=lambda: build(batch_norm=True),
    )
    assert words in found.rounds[0].left_out["client 2"]


@pytest.mark.long
def test_a_client_that_diverges_once_comes_back():
    def once(message, context, call_next):
        """Give NaN weights to train on in the second round."""
        config = message.content["config"]
        if context.node_id == 2 and config["server-round"] == 2:
            given = arrays_of(message)
            bad = {k: v * np.nan for k, v in given.items()}
            message.content.array_records[ARRAYS] = as_record(bad)
            reply = call_next(message, context)
            message.content.array_records[ARRAYS] = as_record(given)
            return reply
        return call_next(message, context)

    for update in ("float32", "int8"):
        found = run(rounds=4, mods=[once], update=update)
        left = [[*each.left_out] for each in found.rounds]
        assert left == [[], ["client 1"], [], []]


def test_eight_bits_leave_variances_as_they_are():
    def wide_range(message, context, call_next):
        reply = call_next(message, context)
        found = arrays_of(reply)
        name = next(k for k in found if k.endswith("moving_variance"))
        found[name] = np.float32([0.01, 50, 1, 1, 1, 1, 1, 1])
        reply.content.array_records[ARRAYS] = as_record(found)
        return reply

    found = run(
        rounds=1,
        mods=[wide_range],
        update="int8",
        batch_norm="average",
        make=lambda: build(batch_norm=True),
    )
    variance = found.model.layers[1].moving_variance.numpy()
    assert variance[0] > 0.009


FAULTS = {
    "dies": (_raise, "RuntimeError: the disk is gone"),
    "nan": (
        _arrays(lambda a: {k: v * np.nan for k, v in a.items()}),
        "not finite",
    ),
    "shape": (
        _arrays(lambda a: {k: np.zeros(v.size + 1) for k, v in a.items()}),
        "of shape",
    ),
    "names": (
        _arrays(lambda a: {f"{k}!": v for k, v in a.items()}),
        "arrays of other names",
    ),
    "poisoned": (
        _arrays(lambda a: {k: -10 * v for k, v in a.items()}),
        "times as long as the median",
    ),
    "nothing": (_nothing, "other records than asked for"),
    "no example": (_no_example, "trained on no example"),
}


@pytest.mark.long
@pytest.mark.parametrize("update", ["float32", "int8"])
@pytest.mark.parametrize("fault", [*FAULTS])
def test_a_bad_client_is_left_out_by_name(fault, update):
    change, words = FAULTS[fault]
    found = run(rounds=2, mods=[damaged(change)], update=update)
    for each in found.rounds:
        assert [*each.left_out] == ["client 2"]
        # In eight bits a client fails itself where it has no update.
        if update == "float32" or fault not in ("shape", "names", "nothing"):
            assert words in each.left_out["client 2"]
        assert "\n" not in each.left_out["client 2"]
    assert np.isfinite(weights(found)).all()


def test_a_bad_client_changes_nothing():
    """The aggregate is that of the others, to the bit."""
    change, _ = FAULTS["nan"]
    found = run(rounds=1, mods=[damaged(change)])

    def three(node):
        number = node["partition-id"]
        return partition(4)({"partition-id": number + (number > 1)})

    others = kbp.federated.simulate(build, three, clients=3, rounds=1)
    # Clients 3 and 2 draw other batches, so the rows' order alone differs.
    assert found.rounds[0].metrics["loss"] == pytest.approx(
        others.rounds[0].metrics["loss"], rel=0.2
    )


def test_poisoned_updates_count_if_a_person_says_so():
    change, _ = FAULTS["poisoned"]
    found = run(rounds=1, mods=[damaged(change)], longest_update=0.0)
    assert not found.rounds[0].left_out
    # Three shares of the weights, and -10 of them.
    start = np.concatenate([w.ravel() for w in build().get_weights()])
    assert weights(found) @ start < -1.5 * start @ start


def test_late_clients_are_left_out(monkeypatch):
    """A clock on which client 1 takes 100 seconds."""
    now = [0.0]
    monkeypatch.setattr("kbp.federated.local.time.perf_counter", lambda: now[0])

    def late(message, context, call_next):
        now[0] += 100.0 if context.node_config["partition-id"] == 1 else 1.0
        return call_next(message, context)

    app = kbp.federated.client_app(build, partition(3), mods=[late])
    found = run_model(
        build,
        LocalGrid(app, 3),
        clients=3,
        rounds=1,
        strategy="fedavg",
        local_epochs=1,
        longest_update=0.0,
        seed=0,
        timeout=10.0,
    )
    assert found.rounds[0].left_out == {"client 1": "has not answered in time"}


def test_a_round_without_any_client_is_one_line():
    with pytest.raises(
        UserError, match=r"no client's update counts\. client 0"
    ):
        run(mods=[_raise])


@pytest.mark.long
def test_some_clients_train_in_a_round():
    """Another draw each round, the same in each run."""
    from flwr.serverapp.strategy import FedAvg

    drawn = []
    for _ in range(2):
        found = run(
            clients=6,
            rounds=5,
            strategy=FedAvg(fraction_train=0.34, min_available_nodes=6),
        )
        drawn.append([[x["client"] for x in r.clients] for r in found.rounds])
    assert drawn[0] == drawn[1]
    assert {len(each) for each in drawn[0]} == {2}
    assert len({tuple(each) for each in drawn[0]}) > 1


@pytest.mark.long
def test_optimizers_states_are_kept_or_reset():
    kept, reset = (
        run(optimizer_state=state, rounds=4) for state in ("keep", "reset")
    )
    assert not np.array_equal(weights(kept), weights(reset))


@pytest.mark.long
def test_eight_bits_are_near_and_a_quarter_of_the_bytes():
    def wide():
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(256, "relu"),
                keras.layers.Dense(64, "relu"),
                keras.layers.Dense(3),
            ]
        )
        model.compile(
            keras.optimizers.Adam(0.003),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    whole, eight = (
        run(make=wide, rounds=5, update=update)
        for update in ("float32", "int8")
    )
    for a, b in zip(whole.rounds, eight.rounds, strict=True):
        assert b.bytes_up < 0.26 * a.bytes_up
        assert b.bytes_down == a.bytes_down
    assert eight.rounds[-1].metrics["loss"] == pytest.approx(
        whole.rounds[-1].metrics["loss"], rel=0.1
    )


@pytest.mark.long
@pytest.mark.parametrize("mode", ["local", "average"])
def test_what_is_a_clients_own_may_differ_by_any_length(mode):
    own = partition(4)

    def scaled(node):
        parts = own(node)
        factor = 30.0 if node["partition-id"] == 3 else 1.0
        return {name: (factor * x, y) for name, (x, y) in parts.items()}

    found = kbp.federated.simulate(
        lambda: build("SGD", batch_norm=True),
        scaled,
        clients=4,
        rounds=2,
        batch_norm=mode,
    )
    left_out = [name for r in found.rounds for name in r.left_out]
    assert bool(left_out) == (mode == "average")


def test_batch_normalization_is_the_clients_own():
    """FedBN: a client trains on with its own, whatever the server has."""
    seen = []

    def watch(message, context, call_next):
        reply = call_next(message, context)
        seen.append((context.node_id, arrays_of(message), arrays_of(reply)))
        return reply

    for mode in ("local", "average"):
        seen.clear()
        run(
            clients=2,
            rounds=2,
            batch_norm=mode,
            mods=[watch],
            make=lambda: build("SGD", batch_norm=True),
        )
        gamma = next(k for k in seen[0][1] if k.endswith(".gamma"))
        (_, _, first), _, (node, sent, _), _ = seen
        assert node == 1
        # The server has the mean of both, which is none of theirs.
        assert not np.array_equal(sent[gamma], first[gamma])


def test_flowers_mods_see_weights():
    noisy = run(
        rounds=1,
        update="int8",
        mods=[LocalDpMod(1e-3, sensitivity=0.0, epsilon=1.0, delta=1e-5)],
    )
    start = np.concatenate([w.ravel() for w in build().get_weights()])
    # An update is clipped to a norm of 0.001 before it is sent.
    assert np.linalg.norm(weights(noisy) - start) < 1.1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clients": 0}, "`clients` must be"),
        ({"rounds": 0}, "`rounds` must be"),
        ({"local_epochs": 1.5}, "`local_epochs` must be"),
        ({"strategy": "fedavgg"}, "did you mean 'fedavg'"),
        ({"make": lambda: keras.Sequential()}, "must return a compiled model"),
        ({"update": "int4"}, "Argument `update` must be"),
        ({"batch_norm": "none"}, "Argument `batch_norm` must be"),
        ({"optimizer_state": "no"}, "Argument `optimizer_state` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
        (
            {"clients": 1, "strategy": STRATEGIES["fedavg"]({})},
            "needs 2 clients, and there are 1",
        ),
    ],
)
def test_wrong_arguments_are_one_line(options, words):
    with pytest.raises(ValueError, match=words):
        run(**options)


def test_a_reason_is_that_of_the_data():
    def three(node):
        return X, Y, Y

    with pytest.raises(UserError, match=r"gives tuple, which must be \(x, y\)"):
        kbp.federated.simulate(build, three, clients=2, rounds=1)
    wide = np.ones((20, 5), "float32"), np.zeros(20, "int64")
    whole = partition(2)
    found = kbp.federated.simulate(
        build,
        lambda node: wide if node["partition-id"] else whole(node),
        clients=2,
        rounds=1,
    )
    (reason,) = found.rounds[0].left_out.values()
    assert not reason.endswith(":")
    assert "5" in reason


def test_apps_refuse_what_does_not_fit(tmp_path):
    plain = kbp.recipes.Recipe.parse({})
    clients = plain.with_settings(["federated.clients=2"])
    for make, words in (
        (lambda: kbp.federated.client_app(plain), "set federated.clients"),
        (lambda: kbp.federated.server_app(plain, tmp_path), "set federated"),
        (
            lambda: kbp.federated.client_app(clients, partition(2)),
            "a recipe says who has which data",
        ),
        (
            lambda: kbp.federated.client_app(build),
            "a function that gives a client its data",
        ),
        (
            lambda: kbp.federated.client_app(build, (X, Y)),
            r"its data: partition\(node\) -> \(x, y\); received tuple",
        ),
        (
            lambda: kbp.federated.client_app(build(), partition(2)),
            "function that returns a compiled model; received Sequential",
        ),
        (
            lambda: kbp.federated.server_app(build, tmp_path / "m.h5"),
            r"must be the `\.keras` file",
        ),
    ):
        with pytest.raises(UserError, match=words):
            make()


@pytest.mark.long
def test_a_server_app_writes_the_model(tmp_path):
    path = tmp_path / "together.keras"
    app = kbp.federated.server_app(build, path, clients=2, rounds=2)
    clients = kbp.federated.client_app(build, partition(2))
    grid = LocalGrid(clients, 2)
    app(grid, grid.contexts[1])
    loaded = keras.models.load_model(path)
    np.testing.assert_allclose(
        loaded.predict(X[:5], verbose=0),
        run(clients=2, rounds=2).model.predict(X[:5], verbose=0),
        atol=1e-6,
    )


def test_nodes_need_their_number():
    def app(config):
        grid = LocalGrid(kbp.federated.client_app(build, partition(2)), 1)
        grid.contexts[1].node_config = config
        return run_model(
            build,
            grid,
            clients=1,
            rounds=1,
            strategy="fedavg",
            local_epochs=1,
            longest_update=0.0,
            seed=0,
        )

    with pytest.raises(UserError, match="must hold partition-id=N"):
        app({"partition-id": "one"})
