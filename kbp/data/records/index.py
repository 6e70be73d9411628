"""The index of a packing: what its shards are, and what they hold."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbp._utils.files import write_atomically
from kbp.data.records.schema import Array, Moments, Schema
from kbp.data.splitting import SPLITS
from kbp.errors import UserError

INDEX = "index.json"
EXAMPLES = "examples.npz"  # labels and names, which are needed all at once
DIGESTS = "digests.bin"  # of the inputs, to find what two splits share
LOCK = ".lock"
FORMAT = 2


@dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
        name: of the file.
        split: that its examples belong to.
        first: number of its first example in the split.
        count: of its examples.
        size: in bytes; 0 if it is not written yet.
        sha256: of its bytes.
        moments: of its inputs, by channel.
    """

    name: str
    split: str
    first: int
    count: int
    size: int = 0
    sha256: str = ""
    moments: Moments | None = None


@dataclass(frozen=True)
class Index:
    """All that is known of a packing.

    Attributes:
        packing: number that its records hold, drawn when it began.
        schema: of a record.
        counts: of each split's examples.
        shards: in the order of splits and examples.
        class_names: in the order of the classes.
        remarks: sentences about the files that the examples come from.
        images: what these were like, as JSON; perhaps unknown.
        digest: SHA-256 of the file of labels and names beside the shards.
        content: SHA-256 of the file of the inputs' digests, which is written
            at the end; `""` before.
        source: `[data]` of the recipe that was packed, as TOML.
        versions: of the packages that packed it.
    """

    packing: int
    schema: Schema
    counts: Mapping[str, int]
    shards: tuple[Shard, ...]
    class_names: tuple[str, ...]
    remarks: tuple[str, ...]
    images: str
    digest: str
    content: str
    source: str
    versions: Mapping[str, str]

    @property
    def finished(self) -> bool:
        """Whether all is written."""
        return bool(self.content) and all(s.size for s in self.shards)

    def check_finished(self, where: object) -> None:
        """Raise a UserError if the packing was stopped and not gone on with."""
        if not self.finished:
            raise UserError(
                f"{where}: the packing is not finished. Call `kbp pack` with "
                "the same arguments to go on."
            )

    def of(self, split: str) -> list[Shard]:
        """Return the shards of a split."""
        return [shard for shard in self.shards if shard.split == split]

    def plan(self) -> dict[str, Any]:
        """Return what tells two packings of other examples apart."""
        return {
            "source": self.source,
            "schema": self.schema,
            "counts": self.counts,
            "shards": [(s.name, s.first, s.count) for s in self.shards],
            "classes": self.class_names,
            "digest": self.digest,
        }

    def differences(self, other: "Index") -> str:
        """Say in which parts of their plans two packings differ."""
        own, others = self.plan(), other.plan()
        return ", ".join(
            words for part, words in _SAID.items() if own[part] != others[part]
        )

    def statistics(self) -> dict[str, list[float]]:
        """Return those of the training inputs' channels, once it is whole."""
        found = [s.moments for s in self.of("train") if s.moments]
        return sum(found[1:], found[0]).statistics() if found else {}

    def with_shard(self, shard: Shard) -> "Index":
        """Return the index with what is known of a shard that was written."""
        shards = [shard if s.name == shard.name else s for s in self.shards]
        return dataclasses.replace(self, shards=tuple(shards))

    def write(self, folder: Path) -> None:
        """Write it into the folder of the shards."""
        content = dataclasses.asdict(self) | {
            "format": FORMAT,
            "finished": self.finished,
            "statistics": self.statistics() if self.finished else {},
        }
        content["seal"] = seal(content)
        write_atomically(folder / INDEX, json.dumps(content, indent=1) + "\n")

    @classmethod
    def parse(cls, text: str | bytes, where: object) -> "Index":
        """Read the text of an index.

        Args:
            text: of the file.
            where: it lies, for the error.

        Raises:
            UserError: it is no index, or that of a newer kbp.
        """
        try:
            held = json.loads(text)
            if not isinstance(held, dict) or "format" not in held:
                raise ValueError("it has no format")
            if held["format"] != FORMAT:
                raise ValueError(f"is of format {held['format']}, not {FORMAT}")
            shards = tuple(map(_shard, held["shards"]))
            _check_counts(held["counts"], shards)
            schema = {n: Array.parse(held["schema"][n]) for n in _ARRAYS}
            if held.pop("seal") != seal(held):
                raise ValueError("has changed since it was written")
            return cls(
                packing=int(held["packing"]),
                schema=Schema(**schema),
                counts={split: held["counts"][split] for split in SPLITS},
                shards=shards,
                class_names=tuple(map(str, held["class_names"])),
                remarks=tuple(map(str, held["remarks"])),
                **{name: str(held[name]) for name in _TEXTS},
                versions=dict(held["versions"]),
            )
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{where}: no index of records: {reason}. Bring the "
                "file back, or pack into another folder."
            ) from error


_ARRAYS = [field.name for field in dataclasses.fields(Schema)]
_LISTS = ("sums", "squares", "least", "largest")
# The parts of a plan, for people.
_SAID = {
    "source": "keys of [data]",
    "schema": "shapes or types",
    "counts": "numbers of examples",
    "shards": "shards",
    "classes": "classes",
    "digest": "labels or names",
}
_TEXTS = ("images", "digest", "content", "source")


def _shard(values: Mapping[str, Any]) -> Shard:
    moments = None
    if held := values["moments"]:
        lists = {name: tuple(held[name]) for name in _LISTS}
        moments = Moments(count=int(held["count"]), **lists)
    shard = Shard(**{**values, "moments": moments})
    # It is part of a path.
    if Path(shard.name).name != shard.name or shard.split not in SPLITS:
        raise ValueError(f"a shard {shard.name!r} of split {shard.split!r}")
    return shard


def seal(content: Mapping[str, Any]) -> str:
    """Return a digest of all other fields of an index."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_counts(counts: Mapping[str, int], shards: Sequence[Shard]) -> None:
    """Raise a ValueError if shards are not whole splits, one by one."""
    ends = dict.fromkeys(SPLITS, 0)
    for shard in shards:
        if shard.first != ends[shard.split] or shard.count < 1:
            raise ValueError(f"{shard.name} begins at another example")
        ends[shard.split] += shard.count
    if ends != counts:
        raise ValueError(f"counts {counts} of examples, and shards of {ends}")
