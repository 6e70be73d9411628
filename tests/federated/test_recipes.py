"""Recipes whose stages are trained by clients."""

import csv
import io
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import small
from rich.console import Console

import kbp
from kbp.errors import UserError
from kbp.federated.trainer import FederatedTrainer
from kbp.recipes import Recipe
from kbp.sparsity.masks import hard_mask, masked_layers
from kbp.tasks import make_task
from kbp.training.pipeline import Pipeline
from kbp.training.trainer import Trainer
from kbp.training.workdir import WorkDir


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    return small.table(tmp_path_factory.mktemp("table"))


def recipe(sections, *settings, clients=3):
    return Recipe.parse(sections).with_settings(
        [f"federated.clients={clients}", *settings]
    )


def floats(found, folder, resume=False):
    """Return the model of the stage "train", trained by clients."""
    work, pipeline = prepared(found, folder, resume, FederatedTrainer)
    with work, pipeline.trainer.stopping:
        return pipeline.fit()


def stages(found, folder, resume=False, trainer=FederatedTrainer):
    """Return the models as they are trained, and in fake eight bits."""
    work, pipeline = prepared(found, folder, resume, trainer)
    with work, pipeline.trainer.stopping:
        trained, _, quantized = pipeline.train()
    return trained, quantized


def prepared(found, folder, resume, trainer):
    keras.utils.clear_session(free_memory=False)
    console = Console(file=io.StringIO(), width=120)
    work = WorkDir(folder, found, resume=resume)
    return work, Pipeline(
        found, work, lambda: make_task(found, None), console, trainer
    )


def values(model):
    # In fake eight bits, several have one path.
    return [v.numpy() for v in model.variables if "seed" not in v.path]


def same(first, second):
    pairs = zip(values(first), values(second), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        ["federated.batch_norm=average"],
        [
            *("federated.batch_norm=average", "model.dropout=0.2"),
            *("optimizer.name=adam", "optimizer.schedule=step"),
        ],
        ["federated.batch_norm=average", "federated.local_epochs=2"],
    ],
    ids=["hybrid", "adam, dropout", "two epochs"],
)
def test_one_client_is_training_alone(sections, tmp_path, settings):
    """One client with all the data is central training, bit by bit."""
    together = recipe(sections, *settings, clients=1)
    alone = Recipe.parse(sections).with_settings(
        [s for s in settings if not s.startswith("federated")]
    )
    pairs = zip(
        stages(together, tmp_path / "together"),
        stages(alone, tmp_path / "alone", trainer=Trainer),
        strict=True,
    )
    found = [same(first, second) for first, second in pairs]
    # The second stage's dropout goes on where the first has left it, which the
    # server does not know.
    dropout = any("dropout" in setting for setting in settings)
    assert found[0]
    assert found[1] or dropout


@pytest.mark.long
def test_a_run_is_pruned_quantized_verified_and_reported(sections, tmp_path):
    found = recipe(
        sections,
        *("federated.partition=dirichlet", "federated.alpha=0.5"),
        *("federated.update=int8", "training.epochs=8", "sparsity.target=0.5"),
    )
    console = Console(file=io.StringIO(), width=200)
    stages = kbp.training.run(found, tmp_path / "run", console=console)
    scores = {stage.name: stage.score for stage in stages}
    assert scores["int8 .tflite"] > 0.6
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["verification"]["within_one"] > 0.99
    assert 0.2 < run["kernel_sparsity"] < 0.5  # of all, masked or not
    said = console.file.getvalue()
    assert "round 8 of 8: loss" in said
    assert "3 of 3 clients" in said
    with (tmp_path / "run" / "clients.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [(r["stage"], r["round"]) for r in rows[::3]] == [
        *(("train", str(n)) for n in range(1, 9)),
        ("quantize", "1"),
    ]
    assert {row["client"] for row in rows} == {
        *("client 0", "client 1", "client 2")
    }
    report = (tmp_path / "run" / "report.html").read_text()
    assert "Clients" in report
    assert "client 2" in report
    # Everything is as of any other run.
    again = Console(file=io.StringIO(), width=200)
    kbp.training.run(found, tmp_path / "run", resume=True, console=again)
    assert "was finished before" in again.file.getvalue()


@pytest.mark.long
def test_masks_are_the_servers(sections, tmp_path, monkeypatch):
    """All clients of a round train with the same thresholds, which move."""
    from kbp.federated import client

    seen = []
    read = client.Client.read

    def watched(self, message, context):
        request, part, trained = read(self, message, context)
        masks = [hard_mask(x) for x in masked_layers(trained.model)]
        thresholds = [
            t.threshold.numpy()
            for x in masked_layers(trained.model)
            for t in kbp.graph.transforms(x)
        ]
        if message.metadata.message_type == "train":
            seen.append((request.done, masks, thresholds))
        return request, part, trained

    monkeypatch.setattr(client.Client, "read", watched)
    model = floats(recipe(sections, "sparsity.target=0.6"), tmp_path / "run")
    by_round = {}
    for done, masks, thresholds in seen:
        by_round.setdefault(done, []).append((masks, thresholds))
    assert [*by_round] == [0, 1, 2, 3, 4]
    for each in by_round.values():
        (masks, thresholds), *others = each
        assert len(others) == 2
        for other, own in others:
            assert all(
                np.array_equal(a, b) for a, b in zip(masks, other, strict=True)
            )
            assert thresholds == own
    shares = [
        float(np.mean([m.mean() for m in each[0][0]]))
        for each in by_round.values()
    ]
    assert shares[0] > shares[2] > 0.3
    total = np.concatenate([hard_mask(x).ravel() for x in masked_layers(model)])
    assert total.mean() == pytest.approx(0.4, abs=0.02)


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        ["federated.update=int8", "model.dropout=0.1"],
        [
            *("federated.strategy=fedadam", "federated.fraction=0.67"),
            "sparsity.target=0.3",
        ],
        [
            *("federated.strategy=fedavgm", "quantization.epochs=4"),
            "training.epochs=2",
        ],
        ["federated.batch_norm=local", "federated.local_epochs=2"],
    ],
    ids=["int8", "fedadam", "fedavgm, quantized", "local"],
)
def test_a_server_that_died_goes_on(sections, tmp_path, monkeypatch, settings):
    found = recipe(sections, *settings)
    whole = stages(found, tmp_path / "whole")
    from kbp.federated.trainer import Progress

    end = Progress.end

    begun = []

    def die(self, done):
        begun.append((self.plan.stage, done.number))
        if done.number == 3 and len(begun) < 8:
            raise KeyboardInterrupt
        end(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "end", die)
        with pytest.raises(KeyboardInterrupt):
            stages(found, tmp_path / "parts")
    resumed = stages(found, tmp_path / "parts", resume=True)
    assert len(begun) in (3, 5)  # in the stage of three rounds or more
    pairs = zip(whole, resumed, strict=True)
    assert all(same(first, second) for first, second in pairs)
    rows = [
        (tmp_path / name / "clients.csv").read_text().splitlines()
        for name in ("whole", "parts")
    ]
    titles = rows[0][0].split(",")
    clocks = {n for n, title in enumerate(titles) if "seconds" in title}
    strip = [
        [
            [x for n, x in enumerate(row.split(",")) if n not in clocks]
            for row in each
        ]
        for each in rows
    ]
    assert strip[0] == strip[1]


def test_what_the_last_checkpoint_needs_stays(tmp_path):
    """Also where a round is stopped twice before its checkpoint."""
    from kbp.federated.strategy import make_strategy
    from kbp.federated.trainer import Clients
    from kbp.recipes.federated import FederatedRecipe

    strategy = make_strategy(FederatedRecipe(clients=2))
    clients = Clients(tmp_path, "train", strategy, None)
    optimizer = keras.optimizers.SGD()
    clients.set_model(SimpleNamespace(optimizer=optimizer))
    for step in (10, 20, 20, 20):
        optimizer.iterations.assign(step)
        clients.on_epoch_end(0)
        assert clients.path(10).is_file()
    optimizer.iterations.assign(30)
    clients.on_epoch_end(0)
    assert not clients.path(10).exists()
    clients.restore(20)


@pytest.mark.long
def test_what_clients_keep_must_be_there(sections, tmp_path, monkeypatch):
    from kbp.federated.trainer import Progress

    found, end = recipe(sections), Progress.end

    def die(self, done):
        if done.number == 2:
            raise KeyboardInterrupt
        end(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "end", die)
        with pytest.raises(KeyboardInterrupt):
            floats(found, tmp_path / "run")
    (kept,) = (tmp_path / "run" / "checkpoints").glob("*.clients.npz")
    kept.unlink()
    with pytest.raises(UserError, match="what clients keep is in it"):
        floats(found, tmp_path / "run", resume=True)


@pytest.mark.long
def test_rounds_end_early(sections, tmp_path):
    settings = [
        *("training.epochs=30", "optimizer.learning_rate=0.2"),
        "training.early_stopping={patience = 2, min_delta = 10.0}",
    ]
    floats(recipe(sections, *settings), tmp_path / "run")
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert len(rows) - 1 == 3


WRONG = {
    "federated.alpha=0.3": "federated.alpha has no effect: federated.partition",
    "federated.proximal_mu=1": "federated.proximal_mu has no effect",
    "federated.strategy=fedav": "did you mean 'fedavg'",
    "federated.partition=irid": "did you mean 'iid'",
    "federated.partition=column": "needs federated.column",
    "federated.partition=listed": "needs federated.list_file",
    "federated.noise_multiplier=1": "needs federated.clipping_norm",
    "federated.longest_update=0.5": "must be 1 or more, or 0 for none",
    "training.epochs=0": "federated.clients has no effect",
    "training.strategy=mirrored": "each client trains on one device",
    "training.precision=mixed_float16": "updates are float32",
    "training.steps_per_execution=2": "different numbers of steps",
    "optimizer.schedule=plateau": "do not see the server's loss",
    "optimizer.gradient_accumulation_steps=2": "may end before enough steps",
    "ensemble.members=2": "set ensemble.bootstrap = false",
}


@pytest.mark.parametrize("setting", [*WRONG])
def test_keys_that_do_not_fit_are_refused(sections, setting):
    with pytest.raises(UserError, match=WRONG[setting]):
        recipe(sections, setting)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["optimizer.averaging=ema"], "averaging is not done by rounds"),
        (["monitor.gradients=true"], "is not done by rounds"),
        (["training.rematerialize=true"], "is not done by rounds"),
        (["federated.clients=400"], "without a training example"),
        (["federated.partition=pattern", "federated.pattern=(a)"], "no names"),
        (
            ["federated.partition=column", "federated.column=e"],
            "has no column 'e'",
        ),
        (
            ["federated.partition=column", "federated.column=a"],
            "set federated.clients = ",
        ),
        (
            ["federated.strategy=krum", "federated.bad_clients=3"],
            "federated.bad_clients = 3",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_anything_is_written(
    sections, tmp_path, settings, words
):
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=words):
        kbp.training.run(recipe(sections, *settings), folder)
    assert not folder.exists() or not [*folder.iterdir()]


@pytest.mark.long
def test_noise_is_added_to_clipped_updates(sections, tmp_path):
    """With a norm of 1e-6 weights hardly move, unless there is noise."""
    moved = {}
    for noise in (0.0, 1e5):
        found = recipe(
            sections,
            *("federated.clipping_norm=1e-6", "training.epochs=1"),
            f"federated.noise_multiplier={noise}",
        )
        start = floats(
            recipe(
                sections, "training.epochs=1", "optimizer.learning_rate=1e-9"
            ),
            tmp_path / f"start-{noise}",
        )
        model = floats(found, tmp_path / f"run-{noise}")
        moved[noise] = max(
            np.abs(a - b).max()
            for a, b in zip(
                start.get_weights(), model.get_weights(), strict=True
            )
        )
    assert moved[0.0] < 2e-6
    assert moved[1e5] > 1e-3


@pytest.mark.long
def test_noise_is_nobodys_to_guess_and_leaves_constants_alone(
    sections, tmp_path
):
    found = recipe(
        sections,
        *("federated.clipping_norm=1.0", "federated.noise_multiplier=1.0"),
        "training.epochs=1",
    )
    models = [floats(found, tmp_path / f"run-{n}") for n in range(2)]
    trained = [[v.numpy() for v in m.trainable_variables] for m in models]
    assert not np.array_equal(trained[0][0], trained[1][0])
    # What the table's encoding has learned of the columns is as it was.
    kept = [
        {v.path: v.numpy() for v in m.non_trainable_variables} for m in models
    ]
    assert kept[0]
    for path, value in kept[0].items():
        if "seed" not in path:
            np.testing.assert_array_equal(value, kept[1][path])


def test_noise_and_batch_normalization_are_refused(tmp_path):
    found = Recipe.parse({"model": {"architecture": "pyramid_bpnet"}})
    found = found.with_settings(
        ["federated.clients=2", "federated.clipping_norm=1"]
    )
    with pytest.raises(UserError, match="not go with BatchNormalization"):
        kbp.training.run(found, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_keys_without_clients_are_refused(sections):
    with pytest.raises(UserError, match=r"federated\.clients is 0"):
        recipe(sections, "federated.local_epochs=2", clients=0)
