"""Registries, and the sections that what they hold declares."""

import dataclasses
import importlib
import typing

import pytest

from kbp._utils import config
from kbp._utils.registry import Registry
from kbp.data import DataSet, register_dataset
from kbp.errors import UserError
from kbp.models import register_model
from kbp.recipes.registered import DataRecipe, TaskRecipe
from kbp.tasks import Task, register_task
from kbp.tasks.registry import TASKS


def test_two_objects_cannot_have_one_name(folder):
    @register_model("twice")
    def First(input_shape, num_outputs):
        pass

    register_model("twice")(First)  # the same again
    with pytest.raises(UserError, match=r"'twice' is registered .*First"):

        @register_model("twice")
        def Second(input_shape, num_outputs):
            pass


@pytest.mark.parametrize("name", ["", "two words", "a.b", "--x", 3])
def test_names_are_words(name):
    with pytest.raises(UserError, match="a name must be a word"):
        Registry("x.y").add(name, object())


def test_first_lookup_imports_a_package(tmp_path, monkeypatch):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").write_text(
        "from kbp._utils.registry import Registry\n"
        "THINGS = Registry('room.thing', 'room')\n"
    )
    (tmp_path / "room" / "one.py").write_text(
        "from room import THINGS\nTHINGS.add('one', 1)\n"
        "assert 'one' in THINGS  # a lookup while modules are imported\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    things = importlib.import_module("room").THINGS
    assert things["one"] == 1
    assert list(things) == ["one"]
    with pytest.raises(UserError, match=r"room\.thing: unknown 'two'; known: "):
        things["two"]


def test_builders_arguments_must_have_types():
    with pytest.raises(
        TypeError, match=r"`width` of .*Untyped must have a type"
    ):

        @register_model("untyped")
        def Untyped(input_shape, num_outputs, *, width=3):
            pass


def test_config_of_a_data_set_must_be_a_dataclass():
    with pytest.raises(TypeError, match="`config` must be a dataclass"):
        register_dataset("odd", config=dict, task="classification")


@dataclasses.dataclass(frozen=True)
class Section:
    needed: str
    count: int = config.number(3, 1)
    kind: str = config.choice("a", ("a", "b"))
    parts: tuple[float, ...] = ()


def test_section_is_read_and_its_changes_are_known():
    read = config.parse(Section, "x", {"needed": "y", "parts": [1, 2.5]})
    assert read == Section("y", parts=(1.0, 2.5))
    assert config.changed(read) == {"needed": "y", "parts": (1.0, 2.5)}
    config.check_unused("x", read, "no reason", "count", "kind")
    with pytest.raises(UserError, match=r"x\.parts has no effect: no re"):
        config.check_unused("x", read, "no reason", "parts")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"x\.needed is missing"),
        ({"needed": "y", "counts": 1}, r"x\.counts; did you mean 'count'"),
        ({"needed": "y", "count": 0}, r"x\.count must be at least 1"),
        ({"needed": "y", "kind": "c"}, r"x\.kind: unknown 'c'; known: a, b"),
        ({"needed": "y", "nam": 1}, r"x\.nam; did you mean 'name'"),
        ({"needed": 1}, r"x\.needed must be of type str; received 1"),
    ],
)
def test_wrong_section_is_named(values, message):
    with pytest.raises(UserError, match=message):
        config.parse(Section, "x", values, "name")


def test_every_registered_task_says_what_it_is():
    assert {"classification", "forecasting", "segmentation"} <= {*TASKS}
    for name in TASKS:
        task = TASKS[name]
        assert task.name == name
        assert issubclass(task, Task)
        assert task.metric_format.format(0.5)
        assert "example" not in task.takes
        for section in task.sections.values():
            assert section() == section()  # all keys have defaults
            assert typing.get_type_hints(section)


def test_every_data_set_has_a_task():
    from kbp.data.registry import DATASETS

    names = {"digits", "cifar10", "dsb2018", "isbi2012", "etth1", "ettm2"}
    assert names | {"csv_series", "image_masks"} <= {*DATASETS}
    for name in DATASETS:
        entry = DATASETS[name]
        assert isinstance(entry, DataSet)
        assert entry.task in TASKS
        assert entry.config.__doc__.startswith("Keys of `[data]` for")
        assert entry.module.startswith("kbp.data.")
    fold = DATASETS["isbi2012"]
    assert fold.note(fold.config(fold=2)) == "fold 2 of 5"


def test_names_of_tasks_are_given_when_they_are_registered():
    assert register_task("segmentation")(TASKS["segmentation"]).name == (
        "segmentation"
    )


def test_members_of_a_family_are_made_when_they_are_asked_for():
    things = Registry("x.y")
    things.add("one", 1)
    made = []

    def find(member):
        made.append(member)
        if member != "two":
            raise UserError(f"x.y: family has no {member!r}")
        return 2

    things.add_family("family", find)
    assert not made
    assert things["family:two"] == 2
    assert list(things) == ["one"]
    with pytest.raises(UserError, match="family has no 'three'"):
        things["family:three"]
    with pytest.raises(
        UserError, match=r"unknown 'familie:two'; known: family:NAME"
    ):
        things["familie:two"]


@dataclasses.dataclass(frozen=True)
class Optional:
    limit: float | None = config.number(None, 0)


@pytest.mark.parametrize("value", [None, 0.5])
def test_keys_without_a_value_are_not_written(value):
    given = {} if value is None else {"limit": value}
    read = DataRecipe("x", config.parse(Optional, "data", given))
    assert read.to_dict() == {"name": "x", **given}
    tasks = TaskRecipe("y", {"task": Optional(), "own": Optional(value)})
    assert tasks.to_dict() == {"own": given, "task": {"name": "y"}}
