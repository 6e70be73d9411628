"""Examples of a person's own, read as often as training asks for them."""

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from kbp.data.feeds import ArrayFeed, StreamFeed, feed, in_memory, reading

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10)
W = np.linspace(1, 2, 10)
SHAPES = {"row": (2,)}


class Pieces(keras.utils.PyDataset):
    epochs = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(4 * index, 4 * index + 4)
        return X[part], Y[part]

    def on_epoch_end(self):
        self.epochs += 1


def pieces():
    yield from (Pieces()[index] for index in range(3))


FORMS = {
    "arrays": lambda: (X, Y),
    "examples": lambda: tf.data.Dataset.from_tensor_slices((X, Y)),
    "batches": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(3),
    "PyDataset": Pieces,
    "function": lambda: pieces,
    "generator": pieces,
    "list": lambda: list(pieces()),
}


def make(form):
    return feed(FORMS[form](), SHAPES, "The data", batch_size=4)


def together(batches):
    return [np.concatenate(x) for x in zip(*batches, strict=True)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_all_examples_again_and_again(form):
    made = make(form)
    assert len(made) == 10
    for _ in range(2):
        x, y = together(made.batches(4).as_numpy_iterator())
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(np.ravel(y), Y)
    held = in_memory(made)
    np.testing.assert_array_equal(held.arrays.inputs[0], X)


@pytest.mark.parametrize("form", FORMS)
def test_training_batches_go_on_from_a_step(form):
    made = make(form)
    steps = made.steps(4)

    def some(start, count):
        batches = made.training(4, seed=3, start_step=start)
        return [x for x, _ in batches.take(count).as_numpy_iterator()]

    whole = some(0, 2 * steps + 1)
    for old, new in zip(
        whole[steps + 1 :], some(steps + 1, steps), strict=True
    ):
        np.testing.assert_array_equal(old, new)


def test_arrays_are_shuffled_and_data_sets_are_not():
    arrays = make("arrays").training(10, seed=0, start_step=0)
    first, second = (y.ravel() for _, y in arrays.take(2).as_numpy_iterator())
    assert sorted(first) == sorted(second) == list(Y)
    assert list(first) != list(second)
    stream = make("batches").training(4, seed=0, start_step=0)
    _, y = together(stream.take(4).as_numpy_iterator())
    np.testing.assert_array_equal(y, Y)


def test_weights_and_named_inputs_stay_with_their_examples():
    shapes = {"a": (2,), "b": (1,)}
    made = feed(({"b": X[:, :1], "a": X}, Y, W), shapes, "The data")
    for inputs, y, weight in made.training(5, seed=1, start_step=0).take(2):
        np.testing.assert_array_equal(inputs["a"][:, :1], inputs["b"])
        np.testing.assert_array_equal(inputs["a"][:, 0] / 2, y[:, 0])
        np.testing.assert_allclose(weight[:, 0], 1 + y[:, 0] / 9)


def test_a_data_set_hears_of_the_end_of_each_epoch():
    data = Pieces()
    made = feed(data, SHAPES, "The data")
    assert isinstance(made, StreamFeed)
    list(made.training(4, seed=0, start_step=0).take(7))
    assert data.epochs >= 2


def test_taken_examples_are_those_of_the_indices():
    made = make("arrays")
    assert isinstance(made, ArrayFeed)
    np.testing.assert_array_equal(
        made.take(np.array([7, 2])).arrays.targets.ravel(), [7, 2]
    )


def test_a_generator_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "memory", lambda: 10_000)

    def endless():
        while True:
            yield X, Y

    with pytest.raises(ValueError, match="half of the memory, or have no end"):
        feed(endless(), SHAPES, "The data")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "The data hold no targets"),
        ([X], "The data hold no targets"),
        (tf.data.Dataset.from_tensor_slices(X), "hold no targets"),
        ((X[:0], Y[:0]), "hold no examples"),
        ([], "hold no example"),
        (
            (np.where(X == 7, np.nan, X), Y),
            "NaN .* in 1 example, first .* inputs of example 3",
        ),
        (
            (X, np.where(Y > 7, np.inf, 1.0)),
            "in 2 examples, first in the targets of example 8",
        ),
        (
            tf.data.Dataset.from_tensor_slices(
                (X, np.where(Y, 1.0, np.inf))
            ).batch(4),
            "in 1 example, first in the targets of example 0",
        ),
        ((X, Y.astype(str)), "targets and weights. Received: <U"),
        (
            tf.data.Dataset.from_tensor_slices((X, Y.astype(str))),
            "targets and weights. Received: object",
        ),
        (lambda: iter([]), "hold no example"),
    ],
    ids=range(11),
)
def test_what_cannot_train_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        feed(data, SHAPES, "The data")


def streamed(x, y, *weights):
    return tf.data.Dataset.from_tensor_slices((x, y, *weights)).batch(4)


@pytest.mark.parametrize("make", [streamed, lambda *arrays: arrays])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            (X, np.where(Y == 5, 1e300, Y)),
            "in float32 in .* the targets of .* 5.",
        ),
        ((X, np.where(Y == 5, 1e30, Y)), "squares .* the targets of .* 5."),
        (
            (np.where(X == 10, 1e300, X.astype(float)), Y),
            "float32 in .* the inputs of .* 5.",
        ),
        (
            (X, Y, np.where(Y == 5, -1, 1)),
            "negative values .* the weights of example 5.",
        ),
        ((X, Y, 0 * Y), "The data have only weights of zero"),
    ],
    ids=range(5),
)
def test_what_float32_or_a_sum_of_weights_loses_is_named(data, message, make):
    with pytest.raises(ValueError, match=message):
        feed(make(*data), SHAPES, "The data")


@pytest.mark.parametrize("kind", ["float16", ml_dtypes.bfloat16])
def test_finite_numbers_of_short_types_are_read_in_silence(kind):
    held = feed((X.astype(kind), Y.astype(kind)), SHAPES, "The data")
    assert len(held) == len(X)
    with pytest.raises(ValueError, match=r"infinite values in .* inputs"):
        feed((np.full_like(X, np.inf).astype(kind), Y), SHAPES, "The data")


@pytest.mark.parametrize("again", [lambda f: f, lambda f: f()])
def test_weights_in_some_batches_only_are_named(again):
    def some():
        yield X[:4], Y[:4], np.ones(4)
        yield X[4:], Y[4:]

    with pytest.raises(ValueError, match=r"weights .* batch 1 has no"):
        feed(again(some), SHAPES, "The data")


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (lambda: iter([(X[:4], Y[:4])]), "end before batch 1 .* had 3 batches"),
        (lambda: iter([]), "end before batch 0 .* had 3 batches"),
        (
            lambda: ((X[:4], Y[:4] + 1 // (2 - n)) for n in range(3)),
            "batch 2 cannot be read: ZeroDivisionError: integer",
        ),
        (lambda: iter([(X[:4] * np.nan, Y[:4])]), "NaN .* of example 0"),
        (lambda: iter([(X[:4], Y[:4])] * 4), "go on .* had 3 batches at first"),
        (
            lambda: iter([(X[:4], np.stack([Y[:4]] * 2, 1))] * 4),
            r"targets .* axes .* the first has 1, batch 0 has 2",
        ),
        (
            lambda: iter([(X[:4], Y[:4])] * 2 + [(X[:4, :1], Y[:4])]),
            r"must be batches of \(batch, 2\)\. Received: \(4, 1\)",
        ),
    ],
    ids=range(7),
)
def test_what_a_later_reading_lacks_is_named(later, message):
    passes = []

    def changing():
        passes.append(1)
        if len(passes) > 1:
            return later()
        return ((X[n : n + 4], Y[n : n + 4]) for n in (0, 4, 6))

    made = feed(changing, SHAPES, "The data")
    with pytest.raises(tf.errors.OpError, match="The data"):
        list(made.batches(4))
    with pytest.raises(ValueError, match=message):
        raise made.failure


@pytest.mark.parametrize("make", [streamed, lambda *arrays: arrays])
def test_every_batch_is_checked(make):
    seen = []
    feed(
        make(X, Y),
        SHAPES,
        "The data",
        check=lambda batch, before: seen.append((before, len(batch))),
    )
    assert seen == (
        [(0, 10)] if make is not streamed else [(0, 4), (4, 4), (8, 2)]
    )


def test_batches_may_differ_in_length_and_kind_of_number():
    def padded():
        yield np.ones((4, 3, 2), "float32"), np.ones((4, 3), "int64")
        yield np.ones((2, 5, 2), "float32"), np.full((2, 5), 0.5, "float32")

    made = feed(padded, {"rows": (None, 2)}, "The data")
    read = [(x.shape, y.numpy()) for x, y in made.batches(4)]
    assert [shape for shape, _ in read] == [(4, 3, 2), (2, 5, 2)]
    assert (read[1][1] == 0.5).all()  # not cut to whole numbers


def test_lengths_that_differ_later_are_named():
    passes = []

    def changing():
        passes.append(1)
        length = 3 if len(passes) == 1 else 4
        yield np.ones((4, length, 2)), np.ones((4, length))

    made = feed(changing, {"rows": (None, 2)}, "The data")
    with pytest.raises(tf.errors.OpError, match="The data"):
        list(made.batches(4))
    with pytest.raises(
        ValueError, match=r"have \(4, 2\) in batch 0 .* \(3, 2\)"
    ):
        raise made.failure


def test_input_of_several_is_named():
    def pairs():
        yield {"a": X, "b": np.where(X == 7, np.nan, X)}, Y

    for data in (pairs, pairs()):
        with pytest.raises(ValueError, match="input 'b' of example 3"):
            feed(data, {"a": (2,), "b": (2,)}, "The data")


def readings(*later):
    """Return a function that gives the first examples, and then others."""
    passes = []

    def batches():
        passes.append(1)
        first = (X, Y), len(X)
        (x, y), size = [first, *later][min(len(passes) - 1, len(later))]
        for start in range(0, len(x), size):
            yield x[start : start + size], y[start : start + size]

    return batches


ORDER = np.random.default_rng(0).permutation(len(X))
CHANGED = np.where(Y == 3, Y + 1, Y)


@pytest.mark.parametrize(
    ("later", "differs"),
    [
        (((X, Y), len(X)), False),
        (((X[ORDER], Y[ORDER]), len(X)), False),
        (((X, CHANGED), len(X)), True),
        (((X[ORDER], Y), len(X)), True),
        (((np.where(X[3] == X, X[3] + 1e-3, X), Y), len(X)), True),
    ],
    ids=range(5),
)
def test_other_values_at_a_later_reading_are_noticed(later, differs):
    given = feed(readings(later), SHAPES, "The data")
    assert not given.differs
    next(given.read())  # not to its end, which tells nothing
    given.data = readings(later)
    list(given.data())
    list(given.read())
    assert given.differs == differs
    list(given.read())
    assert given.differs == differs


def test_a_data_set_that_shuffles_gives_the_same_examples():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(100).batch(3)
    given = feed(data, SHAPES, "The data")
    list(given.read())
    assert not given.differs
