"""How long a training waits for its data."""

from typing import Any

import tensorflow as tf

from kbp._compat import map_in_place
from kbp.data.batches import AHEAD


class WaitingClock:
    """Sums up the time from when batches are asked for until they are there.

    It is measured where the batches are taken from their buffer, so what is
    made ready meanwhile costs nothing. The batches stay what they are.

    Example:
    >>> import tensorflow as tf
    >>> from kbp.data.waiting import WaitingClock
    >>> clock = WaitingClock()
    >>> [int(x) for x in clock.timed(tf.data.Dataset.range(3))]
    [0, 1, 2]
    >>> clock.seconds > 0
    True
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self._waited = tf.Variable(0.0, trainable=False, dtype=tf.float64)

    @property
    def seconds(self) -> float:
        """Time that was waited since the last reset."""
        return float(self._waited)

    def reset(self) -> None:
        """Count from zero."""
        self._waited.assign(0.0)

    def timed(self, data: tf.data.Dataset) -> tf.data.Dataset:
        """Return the same elements, whose taking is timed.

        Args:
            data: its last elements are made ready while earlier ones are used.
        """

        def note(asked: Any, element: Any) -> Any:
            self._waited.assign_add(tf.timestamp() - asked)
            return element

        asked = map_in_place(
            tf.data.Dataset.range(2**62), lambda _: tf.timestamp()
        )
        # `zip` asks for the time first, and then for the element.
        pairs = tf.data.Dataset.zip((asked, data.prefetch(AHEAD)))
        options = tf.data.Options()
        # One more buffer would ask at once, whatever the training does.
        options.experimental_optimization.inject_prefetch = False
        return map_in_place(pairs, note).with_options(options)
