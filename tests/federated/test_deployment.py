"""Flower's own processes: a server and two sites, with TLS and keys."""

import json

import machines
import numpy as np
import pytest
import quick
import small

import kbp
from kbp.recipes import Recipe

CLIENTS = {"client 0", "client 1"}
pytestmark = pytest.mark.slow


def app(folder, sections):
    """Write an app whose run is the server's folder `run`."""
    sections["federated"] |= {"clients": 2, "timeout": 240.0}
    recipe = Recipe.parse(sections)
    workdir, data_dir = "run", "data"
    return kbp.federated.write_app(
        recipe, folder / "app", workdir=workdir, data_dir=data_dir
    )


def tables(folder):
    """Write a table for each site and the server; return a recipe of them."""
    for seed, name in enumerate(("site0", "site1", "server")):
        place = folder / name / "data"
        place.mkdir()
        sections = small.table(place)
        lines = (place / "plants.csv").read_text().splitlines()
        rows = np.random.default_rng(seed).permutation(lines[1:])[:400]
        (place / "plants.csv").write_text("\n".join([lines[0], *rows, ""]))
    sections["data"]["file"] = "plants.csv"
    sections["training"]["epochs"] = 3
    sections["quantization"]["epochs"] = 0
    return sections | {"federated": {"partition": "own"}}


def digits():
    """Return a recipe of digits, which the sites share."""
    settings = [*quick.SETTINGS, "training.epochs=2", "quantization.epochs=0"]
    sections = Recipe.parse({}).with_settings(settings).to_dict()
    return sections | {"federated": {}}


@pytest.fixture
def federation(tmp_path):
    with machines.Machines(tmp_path) as found:
        found.start_server()
        for number in range(2):
            found.register(f"site{number}")
            found.start_site(number)
        yield found


def test_sites_train_an_int8_file_with_certificates_and_keys(federation):
    workdir = federation.folder / "server" / "run"
    run = federation.run(app(federation.folder, digits()))
    status, said = federation.wait(run)
    assert status == "finished:completed", said
    rounds = machines.rounds_of(workdir)
    assert [*rounds] == [("train", 1), ("train", 2)]
    for rows in rounds.values():
        assert {*rows} == CLIENTS
        assert not any(row["left_out"] for row in rows.values())
    assert sum(int(row["examples"]) for row in rows.values()) == 1293
    assert (workdir / "model_int8.tflite").is_file()
    report = json.loads((workdir / "run.json").read_text())
    assert report["verification"]["within_one"] >= 0.99
    assert not report["float_operations"]


def test_a_run_goes_on_without_a_dead_site_and_after_its_own_end(federation):
    workdir = federation.folder / "server" / "run"
    log = federation.log("server")
    folder = app(federation.folder, tables(federation.folder))
    first = federation.run(folder)

    def reached(number):
        return ("train", number) in machines.rounds_of(workdir)

    machines.until(lambda: reached(1), 300, log)
    federation.kill("site1")
    machines.until(lambda: reached(2), 400, log)
    row = machines.rounds_of(workdir)["train", 2]["client 1"]
    assert row["left_out"]

    federation.kill_server_app()
    status, _ = federation.wait(first, 120)
    assert status.startswith("finished:")
    assert "completed" not in status
    federation.start_site(1)
    status, said = federation.wait(federation.run(folder))
    assert status == "finished:completed", said
    assert "round 3 of 3" in said
    assert "round 2 of 3" not in said
    rounds = machines.rounds_of(workdir)
    assert [*rounds] == [("train", n) for n in (1, 2, 3)]
    assert rounds["train", 2]["client 1"]["left_out"] == row["left_out"]
    assert not any(row["left_out"] for row in rounds["train", 3].values())
    assert (workdir / "model_int8.tflite").is_file()
