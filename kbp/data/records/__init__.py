"""Examples in shards on a disk or in a bucket, read by number."""

from kbp.data.records.packing import pack
from kbp.data.records.reading import load

__all__ = ["load", "pack"]
