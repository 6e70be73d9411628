"""Paths of many files, held as bytes."""

import os
import sys
from pathlib import Path

import pytest

from kbp.data.images.kinds import ImageFacts, ImageKinds
from kbp.data.images.paths import Paths
from kbp.data.images.search import find_files

NAMES = ["a/1.png", "", "über/ü 2.png", os.fsdecode(b"odd\xff.png"), "/b"]


def test_paths_come_back_as_they_were_given():
    paths = Paths(NAMES)
    assert [*paths] == [*map(Path, NAMES)] == [*Paths(map(Path, NAMES))]
    assert paths[-1] == Path("/b")
    assert [*paths[1::2]] == [*map(Path, NAMES[1::2])]
    assert len(Paths([])) == 0
    for index in (5, -6):
        with pytest.raises(IndexError):
            paths[index]


def test_paths_take_few_bytes():
    names = [f"/some/folder/of/images/{i}.png" for i in range(1000)]
    held = vars(Paths(names)).values()
    assert sum(map(sys.getsizeof, held)) < 1.5 * sum(map(len, names)) < 1e5


def test_images_are_in_the_order_of_paths(tmp_path):
    for name in ("a-b/1.png", "a/2.png", "a.png", "a/b/1.png", "B.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_files(tmp_path).files
    assert [*found] == sorted(found)
    assert len(found) == 5


def test_kinds_of_parts_are_those_of_all():
    facts = [ImageFacts(8, i % 3 == 0, i * 7 % 200) for i in range(20)]
    facts.append(ImageFacts(16, False, 4000))
    parts = ImageKinds.of(facts[:4]) + ImageKinds.of(facts[4:])
    whole = ImageKinds.of(facts)
    assert parts == whole
    assert [*parts.largest] == [*whole.largest]
