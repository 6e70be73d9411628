"""A recipe as a folder that Flower runs, and what a site has."""

import importlib
import io
import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import small
from flwr.cli.build import build_fab_from_disk
from flwr.clientapp import ClientApp
from flwr.common.config import validate_config
from flwr.serverapp import ServerApp

import kbp
from kbp._utils import plugins
from kbp.errors import UserError
from kbp.federated.learner import RecipeLearner
from kbp.federated.sites.app_folder import app_name
from kbp.federated.sites.place import check_same_kind
from kbp.recipes import Recipe

FILES = {"README.md", "client.py", "pyproject.toml", "recipe.toml", "server.py"}


def recipe(*settings):
    return Recipe.parse({}).with_settings(["federated.clients=3", *settings])


def write(folder, *settings, **options):
    options = {"workdir": "runs/together"} | options
    return kbp.federated.write_app(recipe(*settings), folder, **options)


@pytest.mark.filterwarnings("ignore:GitWildMatch:DeprecationWarning")
def test_flower_takes_the_folder_and_sends_all_of_it(tmp_path):
    folder = write(tmp_path / "app")
    config = tomllib.loads((folder / "pyproject.toml").read_text())
    assert validate_config(config, project_dir=folder) == (True, [], [])
    sent = build_fab_from_disk(folder)
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        assert {*archive.namelist()} == FILES | {".info/CONTENT"}
    assert len(sent) < 10_000


def test_the_recipe_reads_back(tmp_path):
    folder = write(tmp_path / "app", "training.epochs=7")
    assert Recipe.read(folder / "recipe.toml") == recipe("training.epochs=7")


@pytest.mark.parametrize(
    ("name", "kind"), [("client", ClientApp), ("server", ServerApp)]
)
def test_its_programs_have_flowers_apps(tmp_path, monkeypatch, name, kind):
    write(tmp_path / "app")
    monkeypatch.syspath_prepend(tmp_path / "app")
    monkeypatch.delitem(sys.modules, name, raising=False)
    app = importlib.import_module(name).app
    del sys.modules[name]
    assert isinstance(app, kind)


def test_the_run_and_the_data_are_keys_of_the_run_configuration(tmp_path):
    folder = write(tmp_path, workdir='a "b"', data_dir="/data/all")
    config = tomllib.loads((folder / "pyproject.toml").read_text())
    found = config["tool"]["flwr"]["app"]["config"]
    assert found == {"workdir": 'a "b"', "data-dir": "/data/all"}


def test_the_page_names_the_folder_and_each_number(tmp_path):
    text = (write(tmp_path / "ours") / "README.md").read_text()
    assert "flwr run ours ours" in text
    assert "numbered 0 to 2" in text
    assert "runs/together" in text
    assert "whole data set" in text
    sections = small.table(tmp_path) | {
        "federated": {"clients": 2, "partition": "own"}
    }
    sections["data"]["file"] = "beds.csv"
    kbp.federated.write_app(
        Recipe.parse(sections), tmp_path / "own", workdir="run"
    )
    text = (tmp_path / "own" / "README.md").read_text()
    assert "data set of its own" in text


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_the_pages_commands_make_certificates_that_fit(tmp_path):
    text = (write(tmp_path / "app") / "README.md").read_text()
    start, end = text.index("    openssl"), text.index("Where `flwr` finds")
    subprocess.run(
        ["bash", "-ec", text[start:end]],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-CAfile", "ca.crt"),
            *("-verify_hostname", "server.example.org", "server.crt"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_persons_own_module_goes_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "imported", ["ferns", "keras"])
    (tmp_path / "ferns.py").write_text("KIND = 'fern'\n")
    folder = write(tmp_path / "app")
    assert (folder / "ferns.py").read_text() == "KIND = 'fern'\n"
    assert not (folder / "keras.py").exists()
    for name in ("client", "server"):
        text = (folder / f"{name}.py").read_text()
        assert text.index("import ferns") < text.index("Recipe.read")
        assert "import keras" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [("server", "another of that name"), ("test_ferns", "leaves it out")],
)
def test_a_module_that_would_not_arrive_is_refused(
    tmp_path, monkeypatch, name, words
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").touch()
    with pytest.raises(UserError, match=words):
        write(tmp_path / "app", imports=[name])
    assert not (tmp_path / "app").exists()


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "app"
    with pytest.raises(UserError, match=r"set federated\.clients"):
        kbp.federated.write_app(Recipe.parse({}), folder, workdir="run")
    with pytest.raises(UserError, match="module no_such: is not found"):
        write(folder, imports=["no_such"])
    with pytest.raises(UserError, match="digits is the same everywhere"):
        write(folder, "federated.partition=own")
    sections = small.table(tmp_path) | {
        "federated": {"clients": 2, "partition": "own"}
    }
    with pytest.raises(UserError, match=r"data\.file must be relative"):
        kbp.federated.write_app(Recipe.parse(sections), folder, workdir="run")
    assert not folder.exists()


def test_names_are_those_that_flower_takes():
    long = SimpleNamespace(
        model=SimpleNamespace(architecture="A__very" * 9),
        data=SimpleNamespace(name="csv_table"),
    )
    for name in (app_name(recipe()), app_name(long)):
        assert len(name) <= 32
        assert name.replace("-", "").isalnum()
        assert name[0].isalpha()
        assert name[-1] != "-"


def own_table(folder, **kinds):
    """Write a table whose classes are renamed; return a recipe of it."""
    folder.mkdir()
    sections = small.table(folder)
    text = (folder / "plants.csv").read_text()
    for kind, other in kinds.items():
        text = text.replace(kind, other)
    (folder / "plants.csv").write_text(text)
    sections["data"]["file"] = "plants.csv"
    sections["federated"] = {"clients": 2, "partition": "own"}
    return Recipe.parse(sections)


def node(number, folder):
    return {"partition-id": number, "data-dir": str(folder)}


def test_a_site_has_all_of_its_own_data(tmp_path):
    learner = RecipeLearner(own_table(tmp_path / "a"))
    own_table(tmp_path / "b", reed="rush")
    parts = [learner.part(node(n, tmp_path / "ab"[n])) for n in range(2)]
    for number, part in enumerate(parts):
        splits = part.task.splits
        assert part.client == number
        assert part.examples == len(splits.train)
        assert part.validation_examples == len(splits.validation)
    names = [part.task.splits.class_names for part in parts]
    assert names == [("fern", "moss", "reed"), ("fern", "moss", "rush")]


def test_a_site_of_other_classes_than_the_servers_is_refused(tmp_path):
    learner = RecipeLearner(own_table(tmp_path / "a"))
    own_table(tmp_path / "b", reed="rush")
    tasks = [learner.part(node(0, tmp_path / x)).task for x in "ab"]
    files = json.dumps(tasks[0].files())
    check_same_kind(tasks[0], files)
    check_same_kind(tasks[1], "")
    with pytest.raises(UserError, match=r"the server's .* other classes"):
        check_same_kind(tasks[1], files)


def test_own_data_need_a_place(tmp_path):
    learner = RecipeLearner(own_table(tmp_path / "a"))
    with pytest.raises(UserError, match="configuration holds data-dir"):
        learner.part({"partition-id": 0})


def test_a_shared_data_set_may_lie_elsewhere_at_each_site(tmp_path):
    sections = own_table(tmp_path / "a").to_dict()
    sections["federated"]["partition"] = "iid"
    learner = RecipeLearner(Recipe.parse(sections))
    own_table(tmp_path / "b")
    parts = [learner.part(node(n, tmp_path / "ab"[n])) for n in range(2)]
    whole = len(parts[0].task.splits.train)
    assert sum(part.examples for part in parts) == whole
    assert np.ptp([part.examples for part in parts]) <= 1
