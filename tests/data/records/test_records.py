"""Packings: what is read is what was packed, and damage is named."""

import dataclasses
import functools
import json
import resource
import shutil

import numpy as np
import pytest
import tensorflow as tf

from kbp import data
from kbp.data import Examples, Splits
from kbp.data.checks.leaks import shared_examples
from kbp.data.images.kinds import ImageFacts, ImageKinds
from kbp.errors import UserError

pytest.importorskip("array_record", reason="needs kbp[records]")

from kbp.data import records
from kbp.data.lazy import chunks
from kbp.data.records import schema
from kbp.data.records.damage import damage
from kbp.data.records.index import Index, seal
from kbp.data.records.reading import Records, read_index

NAMES = ("train", "validation", "test")


def examples(count, seed, dtype="uint8", masks=False):
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 256, (count, 20, 30, 3), "uint8")
    if dtype == "bytes as floats":
        inputs = inputs.astype("float32") / 255
    elif dtype != "uint8":
        inputs = rng.normal(size=inputs.shape).astype(dtype)
    shape = (count, 20, 30) if masks else count
    labels = rng.integers(0, 2, shape).astype("int32" if masks else "int64")
    names = tuple(f"{seed}/{i}\udce9.png" for i in range(count))
    return Examples(inputs, labels, names)


def splits(seed=0, **kind):
    parts = {
        n: examples(c, seed + i, **kind) for i, (n, c) in enumerate(COUNTS)
    }
    kinds = ImageKinds.of([ImageFacts(8, True, 255)])
    return Splits(
        **parts, class_names=("cat", "dog"), remarks=("Said.",), images=kinds
    )


COUNTS = (("train", 103), ("validation", 0), ("test", 41))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "new"
    records.pack(splits(), folder, shards=3)
    return folder


@pytest.fixture
def copied(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "copy")


@pytest.mark.parametrize("masks", [False, True], ids=["classes", "masks"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "bytes as floats"])
def test_what_is_read_is_what_was_packed(tmp_path, monkeypatch, dtype, masks):
    monkeypatch.setattr(schema, "_PART", 10_000)  # a few examples
    given = splits(dtype=dtype, masks=masks)
    records.pack(given, tmp_path / "p", shards=3)
    read = records.load(tmp_path / "p")
    for name in NAMES:
        one, other = getattr(given, name), getattr(read, name)
        assert len(one) == len(other)
        assert other.names == one.names
        values = data.splits.as_floats(other.inputs[:])
        np.testing.assert_array_equal(values, data.splits.as_floats(one.inputs))
        np.testing.assert_array_equal(other.labels[:], one.labels)
        assert other.labels[:].dtype == one.labels.dtype
    for name in ("class_names", "remarks", "images"):
        assert getattr(read, name) == getattr(given, name)


def test_what_two_splits_share_is_found_without_reading(packed, monkeypatch):
    read = records.load(packed)
    monkeypatch.setattr(Records, "read", None)
    parts = {"train": read.train.inputs, "test": read.train.inputs.view([3])}
    (said,) = shared_examples(parts)
    assert said.startswith("1 of 1 test examples is in the train split")
    parts["test"] = read.test.inputs
    assert not shared_examples(parts)


def test_batches_are_those_of_memory(packed):
    given, read = splits(), records.load(packed)
    one, other = (
        data.training_batches(x.train, 10, seed=3, start_step=7).take(12)
        for x in (given, read)
    )
    for (x, y), (u, v) in zip(one, other, strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)


def test_statistics_are_those_of_the_bytes(packed):
    found = read_index(packed).statistics()
    values = splits().train.inputs.reshape(-1, 3).astype("float64")
    for name, right in (
        ("mean", values.mean(0)),
        ("deviation", values.std(0)),
        ("least", values.min(0)),
        ("largest", values.max(0)),
    ):
        np.testing.assert_allclose(found[name], right, rtol=1e-12)


def test_bytes_are_stored_as_bytes(tmp_path):
    index = records.pack(
        splits(dtype="bytes as floats", masks=True), tmp_path / "p", shards=1
    )
    assert index.schema.inputs.dtype == index.schema.inputs.stored == "uint8"
    assert index.schema.labels.stored == "uint8"
    assert index.schema.labels.dtype == "int32"


def test_shards_hold_every_example_once(packed):
    index = read_index(packed)
    assert [s.count for s in index.of("train")] == [34, 34, 35]
    for name, count in COUNTS:
        held = index.of(name)
        places = [i for s in held for i in range(s.first, s.first + s.count)]
        assert places == [*range(count)]


@pytest.mark.parametrize("stopped_after", [0, 1, 3])
def test_a_packing_that_was_stopped_goes_on(
    tmp_path, packed, monkeypatch, stopped_after
):
    folder, said = tmp_path / "p", []

    def stop(sentence):
        said.append(sentence)
        if len(said) > stopped_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records.pack(splits(), folder, shards=3, said=stop)
    if stopped_after < 3:
        with pytest.raises(UserError, match="is not finished"):
            records.load(folder)
    said.clear()
    records.pack(splits(), folder, shards=3, said=said.append)
    kept = [sentence for sentence in said if sentence.endswith("kept")]
    assert len(kept) == stopped_after + 1
    read, whole = records.load(folder), records.load(packed)
    np.testing.assert_array_equal(read.train.inputs[:], whole.train.inputs[:])


def test_a_shard_that_was_lost_or_damaged_is_packed_again(copied):
    first, second = sorted(copied.glob("train*"))[:2]
    first.unlink()
    flip(second)
    said = []
    records.pack(splits(), copied, shards=3, said=said.append)
    assert sum(s.endswith("kept") for s in said) == 3
    np.testing.assert_array_equal(
        records.load(copied).train.inputs[:], splits().train.inputs
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_files_that_changed_since_are_not_mixed_with_their_old_ones(
    copied, split
):
    before = {p.name: p.read_bytes() for p in copied.iterdir()}
    changed = splits()
    getattr(changed, split).inputs[-1, 0, 0, 0] ^= 1
    with pytest.raises(UserError, match="files have changed"):
        records.pack(changed, copied, shards=3)
    assert {p.name: p.read_bytes() for p in copied.iterdir()} == before


def test_another_packing_is_not_overwritten(copied, tmp_path):
    before = {p.name: p.read_bytes() for p in copied.iterdir()}
    for other, shards, source, words in (
        (splits(seed=9), 3, "", "labels or names"),
        (splits(), 2, "", "shards"),
        (splits(dtype="float32"), 3, "a = 1", r"keys of \[data\], shapes"),
    ):
        with pytest.raises(UserError, match=f"another packing: its {words}"):
            records.pack(other, copied, shards=shards, source=source)
    assert {p.name: p.read_bytes() for p in copied.iterdir()} == before
    (tmp_path / "own.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        records.pack(splits(), tmp_path)
    assert (tmp_path / "own.txt").read_text() == "mine"


@pytest.mark.long
@pytest.mark.parametrize("shards", [1, 60, 103])
def test_as_many_shards_as_were_asked_for(tmp_path, shards):
    index = records.pack(splits(), tmp_path / "p", shards=shards)
    counts = [shard.count for shard in index.of("train")]
    assert len(counts) == shards
    assert max(counts) - min(counts) <= 1
    assert max(s.count for s in index.of("test")) <= max(counts)


def test_more_shards_than_examples_are_refused(tmp_path):
    with pytest.raises(UserError, match="more than the 103 training"):
        records.pack(splits(), tmp_path / "p", shards=104)
    assert not (tmp_path / "p").exists()


def test_what_is_no_image_is_not_packed(tmp_path):
    class Others(Splits):
        """Such as those of a table."""

    given = splits()
    with pytest.raises(UserError, match="images with classes or masks"):
        records.pack(Others(given.train, given.train, given.test), tmp_path)


def test_a_disk_that_gives_back_other_bytes_is_found(tmp_path, monkeypatch):
    from kbp.data.records import array_record

    write = array_record.write

    def forget(path, given):
        write(path, [bytes(len(record)) for record in given])

    monkeypatch.setattr(array_record, "write", forget)
    with pytest.raises(UserError, match="gives back other bytes"):
        records.pack(splits(), tmp_path / "p", shards=3)
    assert not [*(tmp_path / "p").glob("*.array_record")]


def test_a_full_disk_is_one_line_and_leaves_no_part(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, before[1]))
    try:
        with pytest.raises(UserError, match="cannot be written") as caught:
            records.pack(splits(), tmp_path / "p", shards=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    left = {path.name for path in (tmp_path / "p").iterdir()}
    assert left == {".lock", "index.json", "examples.npz"}
    records.pack(splits(), tmp_path / "p", shards=1)
    assert len(records.load(tmp_path / "p").train) == 103


# -- damage --


def flip(path, at=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    path.write_bytes(content)


def flip_a_record(path):
    """Flip a bit of the pixels of record 5."""
    content = path.read_bytes()
    image = splits().train.inputs[5].tobytes()
    assert content.count(image[:40]) == 1
    flip(path, content.index(image[:40]))


def other_packing(folder, path):
    other = folder.parent / "other"
    records.pack(splits(), other, shards=3)
    shutil.copy(other / path.name, path)


def changed_index(change):
    def damage(folder, path):
        file = folder / "index.json"
        held = json.loads(file.read_text())
        change(held)
        held.pop("seal")  # a wrong index may have been written so
        file.write_text(json.dumps(held | {"seal": seal(held)}))

    return damage


def swap(folder, path):
    first, second = sorted(folder.glob("train*"))[:2]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def unfinished(held):
    held["shards"][1].update(size=0)
    held.update(finished=False, statistics={})


DAMAGE = {
    "missing": (lambda f, p: p.unlink(), "missing, though index.json"),
    "truncated": (
        lambda f, p: p.write_bytes(p.read_bytes()[:-9000]),
        "were packed. Bring",
    ),
    "empty": (lambda f, p: p.write_bytes(b""), "has 0 bytes"),
    "longer": (
        lambda f, p: p.write_bytes(p.read_bytes() + bytes(65536)),
        "were packed. Bring",
    ),
    "no ArrayRecord": (
        lambda f, p: p.write_bytes(bytes(p.stat().st_size)),
        "no file of ArrayRecord",
    ),
    "of another packing": (other_packing, "record 0 is of another packing"),
    "in each other's place": (swap, "record 0 is of another packing"),
    "a bit of a record": (
        lambda f, p: flip_a_record(p),
        "record 5 is damaged",
    ),
    "names and labels changed": (
        lambda f, p: flip(f / "examples.npz"),
        "examples.npz: changed since",
    ),
    "names and labels missing": (
        lambda f, p: (f / "examples.npz").unlink(),
        "examples.npz: missing",
    ),
    "digests changed": (
        lambda f, p: flip(f / "digests.bin"),
        "digests.bin: changed since",
    ),
    "no index": (
        lambda f, p: (f / "index.json").unlink(),
        "holds no index.json",
    ),
    "half an index": (
        lambda f, p: (f / "index.json").write_text('{"format": 1, "pack'),
        "no index of records",
    ),
    "an index of another program": (
        lambda f, p: (f / "index.json").write_text("{}"),
        "no index of records",
    ),
    "of a newer kbp": (
        changed_index(lambda held: held.update(format=3)),
        "is of format 3",
    ),
    "a path in the index": (
        changed_index(lambda h: h["shards"][0].update(name="../x")),
        "no index of records",
    ),
    "another shape": (
        changed_index(lambda h: h["schema"]["inputs"].update(shape=[20, 9, 3])),
        "record 0 is of another packing",
    ),
    "an object as dtype": (
        changed_index(lambda h: h["schema"]["inputs"].update(stored="O")),
        "no index of records",
    ),
    "another count": (
        changed_index(lambda h: h["counts"].update(train=104)),
        "no index of records",
    ),
    "not finished": (
        changed_index(unfinished),
        "packing is not finished",
    ),
}


def read_all(folder):
    return [*chunks(records.load(folder).train.inputs, 8)]


def inspect(folder):
    index = read_index(folder)
    index.check_finished(folder)
    for _, text in damage(folder, index):
        if text:
            raise UserError(text)
    records.load(folder)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_in_one_line(copied, kind):
    spoil, words = DAMAGE[kind]
    path = min(copied.glob("train*"))
    spoil(copied, path)
    with pytest.raises(UserError, match=words) as caught:
        read_all(copied)
    said = str(caught.value)
    assert "\n" not in said
    assert str(copied) in said
    if words.startswith("record"):
        assert path.name in said


@pytest.mark.parametrize("kind", DAMAGE)
def test_inspecting_finds_the_same_damage(copied, kind):
    spoil, words = DAMAGE[kind]
    spoil(copied, min(copied.glob("train*")))
    words = words.replace("record 5 is damaged", "damaged: record 5.")
    with pytest.raises(UserError, match=words):
        inspect(copied)


def test_what_is_whole_has_no_damage(packed):
    found = [text for _, text in damage(packed, read_index(packed))]
    assert found == [""] * 5


def test_a_flip_between_records_is_found_by_inspecting(copied):
    path = min(copied.glob("train*"))
    flip(path, path.stat().st_size - 2000)  # filled up to 64 KB
    found = [text for _, text in damage(copied, read_index(copied)) if text]
    assert len(found) == 1
    assert path.name in found[0]


def test_an_index_is_read_back(packed):
    index = read_index(packed)
    text = (packed / "index.json").read_text()
    assert Index.parse(text, "") == index
    assert json.loads(text)["statistics"] == index.statistics()
    unwritten = dataclasses.replace(index.shards[0], size=0)
    assert not index.with_shard(unwritten).finished


WRONG = (None, True, 7, 1.5, "x", "", [], ["x"], {}, {"a": 1}, -1)


def fields(held, path=()):
    """Yield the path of every field of an index, however deep."""
    inside = held.items() if isinstance(held, dict) else enumerate(held)
    for name, value in inside:
        yield (*path, name)
        if isinstance(value, dict | list):
            yield from fields(value, (*path, name))


def test_no_field_of_an_index_changes_unseen(packed):
    index = read_index(packed)
    text = (packed / "index.json").read_text()
    seen = 0
    for *path, last in fields(json.loads(text)):
        for wrong in (..., *WRONG):
            held = json.loads(text)
            place = functools.reduce(lambda x, name: x[name], path, held)
            if wrong is ...:
                del place[last]
            elif place[last] == wrong and type(place[last]) is type(wrong):
                continue
            else:
                place[last] = wrong
            changed = json.dumps(held)
            with pytest.raises(UserError, match="no index of records") as said:
                Index.parse(changed, "here")
            assert "\n" not in str(said.value), (path, last, wrong)
            seen += 1
    assert seen > 1000
    assert Index.parse(text, "here") == index


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("folder", x) for x in (None, 3, b"x", ["x"])),
        *(("shards", x) for x in (True, 0, -1, 1.5, "8", [3])),
        *(("source", x) for x in (None, 3, b"x")),
        *(("said", x) for x in (None, "x", 3)),
    ],
)
def test_odd_arguments_are_named(tmp_path, name, wrong):
    arguments = {"folder": tmp_path / "new", name: wrong}
    with pytest.raises(ValueError, match=f"Argument `{name}`") as caught:
        records.pack(splits(), **arguments)
    assert "\n" not in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("wrong", [None, 3, "x", [], {}])
def test_what_are_no_splits_is_named(tmp_path, wrong):
    with pytest.raises(UserError, match=f"these are {type(wrong).__name__}"):
        records.pack(wrong, tmp_path / "new")
    assert not [*tmp_path.iterdir()]


# -- elsewhere --


def test_a_packing_in_a_bucket_is_copied_once(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    address = "ram://bucket/packed"  # a scheme of TensorFlow's alone
    for file in packed.iterdir():
        target = f"{address}/{file.name}"
        tf.io.gfile.makedirs(address)
        with tf.io.gfile.GFile(target, "wb") as written:
            written.write(file.read_bytes())
    one, other = records.load(packed), records.load(f"{address}/")
    np.testing.assert_array_equal(one.train.inputs[:], other.train.inputs[:])
    shard = min(packed.glob("train*")).name
    tf.io.gfile.remove(f"{address}/{shard}")
    records.load(address)  # from the copy
    (copy,) = tmp_path.glob(f"**/{shard}")
    copy.unlink()
    with pytest.raises(UserError, match=f"{shard}: cannot be read"):
        records.load(address)
    with tf.io.gfile.GFile(f"{address}/{shard}", "wb") as written:
        written.write(b"other")
    with pytest.raises(UserError, match=f"{shard}: changed since"):
        records.load(address)
    assert not copy.exists()


def test_file_addresses_are_paths(packed):
    assert len(records.load(f"file://{packed}").test) == 41


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("ram://nowhere", "index.json: cannot be read"),
        ("/nowhere/at/all", "no such folder"),
        ("~/packed", "write the path in full"),
        ("what://is", "index.json: cannot be read"),
    ],
)
def test_folders_that_are_none_are_named(folder, words):
    with pytest.raises(UserError, match=words):
        records.load(folder)
