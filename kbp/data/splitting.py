"""Which examples are for training, validation and test, by their names."""

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from kbp.errors import UserError

SPLITS = ("train", "validation", "test")
Indices = dict[str, list[int]]


def by_hash(
    names: Sequence[str],
    *,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Indices:
    """Split by the first byte of the SHA-256 of each name.

    An example stays in its split whatever else is added or removed.

    Args:
        names: of the examples.
        validation_fraction: of all, in steps of 1/256, rounded down like the
            next.
        test_fraction: of all.

    Returns:
        For each of `SPLITS` indices into `names`, ascending.

    Raises:
        UserError: none is for validation, though a share was asked for.
    """
    test = int(256 * (1 - test_fraction))
    validation = int(256 * (1 - test_fraction - validation_fraction))

    def split(name: str) -> str:
        byte = hashlib.sha256(os.fsencode(name)).digest()[0]
        if byte < validation:
            return "train"
        return "validation" if byte < test else "test"

    return _collect([split(name) for name in names], validation_fraction)


def by_class(
    names: Sequence[str],
    labels: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> Indices:
    """Split each class alike, in the order of the SHA-256 of the names.

    Of each class at least one example is for test, and for validation if a
    share was asked for. The same names give the same splits.

    Args:
        names: of the examples.
        labels: names of their classes.
        groups: what examples belong to that must stay together, such as
            patients; by default each is alone. Shares are reached with whole
            groups, so they are as asked only if groups are small.
        validation_fraction: of each class.
        test_fraction: of each class.

    Returns:
        For each of `SPLITS` indices into `names`, ascending.

    Raises:
        UserError: a class has too few examples or groups.

    Example:
    >>> from kbp.data.splitting import by_class
    >>> found = by_class("abcdef", ["cat"] * 3 + ["dog"] * 3)
    >>> {split: len(indices) for split, indices in found.items()}
    {'train': 2, 'validation': 2, 'test': 2}
    """
    groups = names if groups is None else groups
    sizes: dict[str, Counter[str]] = {label: Counter() for label in labels}
    for label, group in zip(labels, groups, strict=True):
        sizes[label][group] += 1
    # Classes of few groups choose first.
    rare_first = sorted(sizes, key=lambda label: (len(sizes[label]), label))
    shares = {"test": test_fraction, "validation": validation_fraction}
    chosen: dict[str, str] = {}
    for split, share in shares.items():
        for label in rare_first if share else ():
            _choose(chosen, split, share, sizes[label])
    for label, size in sizes.items():
        found = {chosen.get(group, "train") for group in size}
        if len(found) < 2 + bool(validation_fraction):
            number = sum(size.values())
            apart = "" if len(size) == number else f" in {len(size)} groups"
            raise UserError(
                f"class {label!r} has {number} examples{apart}, too few for "
                "every split"
            )
    return _collect([chosen.get(group, "train") for group in groups])


def _choose(
    chosen: dict[str, str], split: str, share: float, size: "Counter[str]"
) -> None:
    """Give a split its share of a class: small groups, then larger ones."""
    wanted = max(1, round(share * sum(size.values())))
    held = sum(n for group, n in size.items() if chosen.get(group) == split)

    def order(group: str) -> tuple[int, bytes]:
        digest = hashlib.sha256(os.fsencode(group)).digest()
        return max(0, size[group] - wanted), digest

    for group in sorted(size.keys() - chosen.keys(), key=order):
        if held < wanted:
            chosen[group] = split
            held += size[group]


def by_fold(
    names: Sequence[str],
    *,
    fold: int,
    folds: int,
    validation_fraction: float = 0.1,
) -> Indices:
    """Split into folds of consecutive examples, in the order of their names.

    Args:
        names: of the examples.
        fold: the one that is for test, from 0.
        folds: how many there are.
        validation_fraction: share of the others, the last of them.

    Returns:
        For each of `SPLITS` indices into `names`, ascending.

    Raises:
        UserError: there is no such fold, there are fewer examples than folds,
            or none is for validation, though a share was asked for.
    """
    if not 0 <= fold < folds:
        raise UserError(f"fold must be 0 to {folds - 1}; received {fold}")
    if len(names) < folds:
        raise UserError(f"{len(names)} examples make no {folds} folds.")
    order = sorted(range(len(names)), key=names.__getitem__)
    begin, end = (len(names) * k // folds for k in (fold, fold + 1))
    rest = order[:begin] + order[end:]
    border = len(rest) - round(validation_fraction * len(rest))
    splits = [""] * len(names)
    for split, chosen in zip(
        SPLITS, (rest[:border], rest[border:], order[begin:end]), strict=True
    ):
        for index in chosen:
            splits[index] = split
    return _collect(splits, validation_fraction)


def by_folder(names: Sequence[str]) -> Indices:
    """Split by the folders `train`, `validation` and `test`.

    Args:
        names: of the examples, which begin with their folder and a slash.

    Returns:
        For each of `SPLITS` indices into `names`, ascending.

    Raises:
        UserError: an example is in no such folder.
    """
    splits = [name.split("/")[0] if "/" in name else "" for name in names]
    _refuse(
        "the folders",
        f"are {', '.join(SPLITS)}, but these are in none",
        {n for n, s in zip(names, splits, strict=True) if s not in SPLITS},
    )
    return _collect(splits)


def by_lists(names: Sequence[str], *, folder: str | Path) -> Indices:
    """Split as text files say, which hold one name in a line.

    Args:
        names: of the examples.
        folder: holds `train.txt`, `test.txt` and perhaps `validation.txt`;
            names in them are without suffix.

    Returns:
        For each of `SPLITS` indices into `names`, ascending.

    Raises:
        UserError: there is no folder, a list cannot be read or names what is
            not there, or an example is in two lists or in none.
    """
    if folder == "":
        raise UserError("data.lists must name a folder")
    places = {name: index for index, name in enumerate(names)}
    splits: list[str | None] = [None] * len(names)
    for split in SPLITS:
        file = Path(folder) / f"{split}.txt"
        if split == "validation" and not file.exists():
            continue
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read: {error}") from error
        listed = [line.strip() for line in lines if line.strip()]
        _refuse(
            file,
            "names what is not there (names go without suffix)",
            set(listed) - places.keys(),
        )
        _refuse(
            file,
            "names what another list has",
            {name for name in listed if splits[places[name]] is not None},
        )
        for name in listed:
            splits[places[name]] = split
    left = {names[i] for i, split in enumerate(splits) if split is None}
    _refuse("the lists", "leave out", left)
    return _collect(splits)


def some(names: Iterable[Any]) -> str:
    """Name a few of many, and say how many there are."""
    names = sorted(names)
    more = f", ... ({len(names)} in all)" if len(names) > 5 else ""
    return ", ".join(map(str, names[:5])) + more


def _refuse(source: str | Path, problem: str, names: Collection[str]) -> None:
    if names:
        raise UserError(f"{source}: {problem}: {some(names)}")


def _collect(
    splits: Sequence[str | None], validation_fraction: float = 0
) -> Indices:
    found = {
        name: [i for i, split in enumerate(splits) if split == name]
        for name in SPLITS
    }
    if validation_fraction and not found["validation"]:
        raise UserError(
            f"None of {len(splits)} examples is in the validation split. Give "
            "more examples or a validation_fraction above "
            f"{validation_fraction}, or 0 to do without."
        )
    return found
