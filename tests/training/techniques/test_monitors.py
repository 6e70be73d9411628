"""`[monitor]` of recipes: files, stops, replicas and the report."""

import numpy as np
import pytest
import small

from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.reports.monitors import heat_maps
from kbp.reports.monitors.figures_file import read_figures
from kbp.training import callbacks, checkpoint

SETTINGS = [
    *("monitor.gradients=true", "monitor.activations=true"),
    *("monitor.every=7", "training.epochs=3"),
]
FILES = ("gradients.csv", "activations.csv")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    recipe = Recipe.parse(small.table(tmp_path_factory.mktemp("data")))
    return recipe.with_settings(["training.epochs=3"])


@pytest.fixture(scope="module")
def monitored(base, tmp_path_factory):
    """Return the folder and the model of a training that was not stopped."""
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, small.trained(base.with_settings(SETTINGS), folder)


@pytest.mark.long
def test_monitored_stage_ends_with_the_same_weights(base, monitored, tmp_path):
    folder, model = monitored
    bare = small.trained(base, tmp_path / "bare")
    assert checkpoint.to_bytes(bare) == checkpoint.to_bytes(model)
    assert not (tmp_path / "bare" / "gradients.csv").exists()
    for name in FILES:
        rows = read_figures(folder / name)
        steps = list(dict.fromkeys(row["step"] for row in rows))
        assert steps == [0, 7, 14, 21, 28]
        assert {row["stage"] for row in rows} == {"train"}
        assert len({row["layer"] for row in rows}) > 3
    assert [*(folder / "logs" / "train" / "monitor").iterdir()]


@pytest.mark.long
def test_stopped_training_goes_on_to_the_same_files(
    base, monitored, tmp_path, monkeypatch
):
    expected, model = monitored
    recipe = base.with_settings(SETTINGS)
    # Twice within the first epoch.
    small.stop_in(monkeypatch, "on_train_batch_end", (3, 6, 16))
    folder = tmp_path / "run"
    for stop in range(3):
        with pytest.raises(SystemExit):
            small.trained(recipe, folder, resume=stop > 0)
    found = small.trained(recipe, folder, resume=True)
    assert checkpoint.to_bytes(found) == checkpoint.to_bytes(model)
    for name in FILES:
        assert (folder / name).read_bytes() == (expected / name).read_bytes()


@pytest.mark.long
def test_training_killed_after_files_were_written_replaces_rows(
    base, monitored, tmp_path, monkeypatch
):
    expected, _ = monitored
    recipe = base.with_settings(SETTINGS)

    def killed(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        self.inside, self.logs = 0, {}
        self.save()

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoint, "on_epoch_end", killed)
        with pytest.raises(KeyboardInterrupt):
            small.trained(recipe, folder)
    small.trained(recipe, folder, resume=True)
    for name in FILES:
        assert (folder / name).read_bytes() == (expected / name).read_bytes()


@pytest.mark.slow
def test_two_replicas_have_the_figures_of_one(base, monitored, tmp_path):
    one, _ = monitored
    settings = [*SETTINGS, "training.strategy=mirrored"]
    small.trained(base.with_settings(settings), tmp_path / "two")
    for name in FILES:
        for a, b in zip(
            *(
                read_figures(folder / name)
                for folder in (one, tmp_path / "two")
            ),
            strict=True,
        ):
            assert (a["step"], a["layer"]) == (b["step"], b["layer"])
            figures = [
                [np.nan if x is None else x for x in [*row.values()][3:]]
                for row in (a, b)
            ]
            np.testing.assert_allclose(*figures, rtol=2e-3, atol=1e-5)


def test_report_has_maps_and_warnings(monitored):
    folder, _ = monitored
    bounds = {
        # Bounds that a healthy network does not keep.
        "gradients": {"vanishing": 1e-3, "exploding": 1e-9},
        "activations": {"dead": 1e-9, "saturated": 0.5},
    }
    found = heat_maps.sections(folder, bounds)
    assert [*found] == ["Gradients by layer", "Activations by layer"]
    page = found["Gradients by layer"]
    assert "<p>train: Gradients explode: at step 0 they are" in page
    assert page.count("<svg") == 2
    assert found["Activations by layer"].count("<svg") >= 2
    assert heat_maps.sections(folder, bounds, ["train"]) == {}
    assert heat_maps.sections(folder / "none", bounds) == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["monitor.every=0"], "monitor.every must be at least 1"),
        (["monitor.every=9"], "monitor.every has no effect: monitor.gra"),
        (
            ["monitor.dead=0.9", "monitor.gradients=true"],
            "monitor.dead has no effect: monitor.activations is false",
        ),
        (
            ["monitor.vanishing=0.1", "monitor.activations=true"],
            "monitor.vanishing has no effect: monitor.gradients is false",
        ),
        (["monitor.vanishing=1"], "monitor.vanishing must be less than 1"),
        (["monitor.gradient=true"], "unknown key monitor.gradient; did you"),
        (
            [
                *("monitor.gradients=true", "training.epochs=0"),
                "quantization.epochs=0",
            ],
            "monitor.gradients has no effect: no step is trained",
        ),
    ],
)
def test_keys_without_effect_are_refused(settings, message, base):
    with pytest.raises(UserError, match=message) as error:
        base.with_settings(settings)
    assert "\n" not in str(error.value)
