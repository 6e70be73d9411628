"""Who holds which examples of a federation."""

import numpy as np
import pytest

from kbp.data import Examples, Splits
from kbp.data.partitions.registry import PARTITIONS, Split, shared
from kbp.errors import UserError


def splits(count=600, classes=4, names=()):
    rng = np.random.default_rng(1)

    def some(n, first):
        labels = rng.integers(classes, size=n)
        own = names and [names[(first + i) % len(names)] for i in range(n)]
        return Examples(np.zeros((n, 2), "f4"), labels, tuple(own))

    parts = [some(count, 0), some(count // 4, 1), some(count // 3, 2)]
    return Splits(*parts, class_names=tuple("abcd"[:classes]))


def share(found, clients, name, **keys):
    return shares(found, clients, name, **keys).parts


def shares(found, clients, name, **keys):
    return shared(found, clients, name=name, seed=3, keys=keys)


KEYS = {
    "iid": {},
    "dirichlet": {"alpha": 0.5},
    "pattern": {"pattern": "^(site[0-9])_"},
}


@pytest.mark.parametrize("name", [*KEYS])
def test_every_example_has_one_client(name):
    names = [f"site{n}_{m}.png" for n in range(3) for m in range(7)]
    found = splits(names=names)
    parts = share(found, 3, name, **KEYS[name])
    for split in ("train", "validation", "test"):
        together = np.sort(np.concatenate([part[split] for part in parts]))
        assert together.tolist() == [*range(len(getattr(found, split)))]
    again = share(found, 3, name, **KEYS[name])
    assert all(
        np.array_equal(a[k], b[k])
        for a, b in zip(parts, again, strict=True)
        for k in a
    )


def test_iid_parts_are_equal_and_mixed():
    found = splits()
    sizes = [len(part["train"]) for part in share(found, 7, "iid")]
    assert max(sizes) - min(sizes) <= 1
    counts = [
        np.bincount(found.train.labels[part["train"]], minlength=4)
        for part in share(found, 4, "iid")
    ]
    assert np.min(counts) > 20


def class_shares(found, parts, split):
    counts = np.array(
        [
            np.bincount(getattr(found, split).labels[p[split]], minlength=4)
            for p in parts
        ],
        float,
    )
    return counts / counts.sum(axis=0)


def test_dirichlet_has_the_shares_of_its_distribution():
    found = splits(count=40_000)
    spreads = {}
    for alpha in (0.3, 100.0):
        parts = share(found, 5, "dirichlet", alpha=alpha)
        train = class_shares(found, parts, "train")
        # Clients are judged on classes as they have them.
        test = class_shares(found, parts, "test")
        np.testing.assert_allclose(train, test, atol=2e-3)
        spreads[alpha] = train.std()
    # A share's deviation is sqrt(p (1 - p) / (k alpha + 1)), p = 1 / k.
    assert spreads[100.0] == pytest.approx(0.0179, rel=0.5)
    assert spreads[0.3] == pytest.approx(0.253, rel=0.4)


def test_dirichlet_draws_until_nobody_is_without():
    found = splits(count=60)
    parts = share(found, 10, "dirichlet", alpha=0.05)
    assert min(len(part["train"]) for part in parts) >= 1


@pytest.mark.parametrize(
    ("found", "clients", "name", "keys", "words"),
    [
        (splits(8), 9, "iid", {}, "client 8 of 9 clients without"),
        (splits(8), 9, "dirichlet", {}, "fewer clients or a larger alpha"),
        (
            Splits(*[Examples(np.zeros((5, 2)), np.zeros((5, 1)))] * 3),
            2,
            "dirichlet",
            {},
            "these data have none",
        ),
        (splits(), 2, "pattern", {"pattern": "(a)"}, "have no names"),
        (splits(), 2, "column", {"column": "a"}, "needs a table of rows"),
        (
            splits(names=["s0.png", "s1.png", "s2.png"]),
            2,
            "pattern",
            {"pattern": "(s[0-9])"},
            "set federated.clients = 3",
        ),
        (
            splits(names=["s0.png", "x.png"]),
            2,
            "pattern",
            {"pattern": "(s[0-9])"},
            "finds no group in the name of x.png",
        ),
        (
            splits(names=["s0.png"]),
            1,
            "pattern",
            {"pattern": "s[0-9]"},
            "federated.pattern must have a group",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(found, clients, name, keys, words):
    with pytest.raises(UserError, match=words):
        share(found, clients, name, **keys)


def test_a_list_says_who_has_what(tmp_path):
    names = [f"{n}.png" for n in range(6)]
    found = splits(names=names)
    file = tmp_path / "who.csv"
    rows = [f"{name},{'ab'[n % 2]}" for n, name in enumerate(names)]
    file.write_text("\n".join(["name,client", *rows, ""]))
    parts = share(found, 2, "listed", list_file=str(file))
    for n, part in enumerate(parts):
        for split in part:
            own = [getattr(found, split).names[i] for i in part[split]]
            assert {int(x[0]) % 2 for x in own} == {n}
    assert shares(found, 2, "listed", list_file=str(file)).names == ["a", "b"]
    numbers = [f"{name},{n % 2 * 9 + 1}" for n, name in enumerate(names)]
    file.write_text("\n".join(["name,client", *numbers, ""]))
    named = shares(found, 2, "listed", list_file=str(file))
    assert named.names == ["1", "10"]  # by their size
    file.write_text("\n".join(["name,client", *rows[1:], ""]))
    with pytest.raises(UserError, match=r"has no client for 0\.png"):
        share(found, 2, "listed", list_file=str(file))


def test_rows_are_shared_by_a_column_that_is_no_feature(tmp_path):
    from kbp.recipes import Recipe
    from kbp.tasks import make_task

    rng = np.random.default_rng(0)
    lines = ["a,b,site,kind"]
    for n in range(90):
        a, b = rng.normal(size=2)
        lines.append(f"{a:.4f},{b:.4f},hospital {n % 3},{'xy'[int(a > b)]}")
    file = tmp_path / "table.csv"
    file.write_text("\n".join([*lines, ""]))
    recipe = Recipe.parse(
        {
            "model": {"architecture": "residual_mlp"},
            "data": {
                "name": "csv_table",
                "file": str(file),
                "target": "kind",
                "ignore": ["site"],
            },
            "training": {"batch_size": 8},
        }
    )
    found = make_task(recipe, None).splits
    parts = share(found, 3, "column", column="site")
    kinds = [line.split(",") for line in lines[1:]]
    for n, part in enumerate(parts):
        for split, places in part.items():
            rows = [found.rows[split][i] for i in places]
            assert {kinds[row][2] for row in rows} == {f"hospital {n}"}
            # They are the rows that the inputs came from.
            inputs = getattr(found, split).inputs[places]
            wanted = [[float(v) for v in kinds[row][:2]] for row in rows]
            np.testing.assert_allclose(inputs, wanted, atol=1e-6)
    with pytest.raises(UserError, match="has no column 'sit'"):
        share(found, 3, "column", column="sit")


def test_a_persons_own_partition_is_one_function(monkeypatch):
    from kbp.data.partitions.registry import register_partition

    for table in ("_objects", "_origins"):
        held = {**getattr(PARTITIONS, table)}
        monkeypatch.setattr(PARTITIONS, table, held)

    @register_partition("halves")
    def halves(split: Split, clients, seed):
        return (np.arange(len(split.examples)) * clients) // len(split.examples)

    first, second = share(splits(10), 2, "halves")
    assert first["train"].tolist() == [0, 1, 2, 3, 4]
    assert second["train"].tolist() == [5, 6, 7, 8, 9]
