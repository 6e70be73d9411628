"""The server's side, where clients are behind a grid."""

import csv

import pytest
import small

from kbp.errors import UserError
from kbp.federated import LocalGrid, client_app, server_app
from kbp.federated.flower import Context, RecordDict
from kbp.federated.trainer import Progress
from kbp.recipes import Recipe


def recipe(folder):
    """Return a recipe whose table is one below the data folder."""
    sections = small.table(folder)
    sections["data"]["file"] = "plants.csv"
    sections["training"]["epochs"] = 4
    sections["quantization"] = {"enabled": False}
    sections["federated"] = {"clients": 2}
    return Recipe.parse(sections)


def context(**config):
    """Return what Flower gives a server's app."""
    config = {key.replace("_", "-"): value for key, value in config.items()}
    return Context(0, 0, {}, RecordDict(), config)


def run(found, folder, **config):
    grid = LocalGrid(client_app(found, data_dir=folder), 2)
    server_app(found)(grid, context(**config))


@pytest.mark.long
def test_a_run_that_died_goes_on_from_its_last_round(tmp_path, monkeypatch):
    found, begun, begin = recipe(tmp_path), [], Progress.begin

    def dies(self, number):
        begun.append(number)
        if begun == [1, 2, 3]:
            raise KeyboardInterrupt
        begin(self, number)

    monkeypatch.setattr(Progress, "begin", dies)
    workdir = tmp_path / "run"
    config = {"workdir": str(workdir), "data_dir": str(tmp_path)}
    with pytest.raises(KeyboardInterrupt):
        run(found, tmp_path, **config)
    run(found, tmp_path, **config)
    assert begun == [1, 2, 3, 3, 4]
    assert (workdir / "model_float32.tflite").is_file()


def test_a_run_needs_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"`workdir` of Flower's run"):
        run(recipe(tmp_path), tmp_path)
    with pytest.raises(UserError, match=r"must be the `\.keras` file"):
        server_app(lambda: None)


@pytest.mark.long
def test_two_nodes_of_one_number_count_once(tmp_path):
    found = recipe(tmp_path).with_settings(["training.epochs=1"])
    grid = LocalGrid(client_app(found, data_dir=tmp_path), 2)
    grid.contexts[2].node_config["partition-id"] = 0
    workdir = tmp_path / "run"
    config = {"workdir": str(workdir), "data_dir": str(tmp_path)}
    server_app(found)(grid, context(**config))
    with (workdir / "clients.csv").open(newline="") as file:
        reasons = [row["left_out"] for row in csv.DictReader(file)]
    assert reasons == ["", "another node has its partition-id"]
