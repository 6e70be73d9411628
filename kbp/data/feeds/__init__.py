"""Examples that a person has in memory or streams, for training."""

from kbp.data.feeds.arrays import ArrayFeed
from kbp.data.feeds.base import Feed, element
from kbp.data.feeds.reading import feed, in_memory
from kbp.data.feeds.stream import StreamFeed

__all__ = [
    "ArrayFeed",
    "Feed",
    "StreamFeed",
    "element",
    "feed",
    "in_memory",
]
