"""Eigenvalues of the Hessian beside those of differences in NumPy."""

import keras
import numpy as np
import pytest
from networks import dense_model, jacobian_of, outputs_of, vector_of

from kbp.diagnostics import hessian_spectrum
from kbp.diagnostics.curvature.mean_loss import MeanLoss

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(11, 3)), RNG.normal(size=(11, 2))
UNITS = (5, 4, 2)  # 54 weights


def hessian_of(vector, units=UNITS):
    """Return the Hessian of the mean squared error, by central differences."""

    def gradient(vector):
        error = outputs_of(vector, X, units) - Y
        slopes = jacobian_of(vector, X, units)
        return np.einsum("no,nop->p", error, slopes) * 2 / error.size

    step = 1e-5
    rows = [
        (gradient(vector + step * e) - gradient(vector - step * e)) / (2 * step)
        for e in np.eye(vector.size)
    ]
    return (np.array(rows) + np.transpose(rows)) / 2


@pytest.mark.long
@pytest.mark.parametrize("batch_size", [4, 32])
@pytest.mark.parametrize(
    ("which", "k", "chosen"),
    [
        ("largest", 3, slice(-3, None)),
        ("smallest", 4, slice(0, 4)),
        ("both", 2, [0, 1, -2, -1]),
        ("both", 26, slice(None)),
        ("both", 54, slice(None)),
        ("largest", 54, slice(None)),
    ],
)
def test_eigenvalues_are_those_of_differences(which, k, chosen, batch_size):
    model = dense_model(*UNITS)
    if (which, k) == ("both", 26):
        chosen = [*range(26), *range(28, 54)]
    found = hessian_spectrum(
        model,
        (X, Y),
        k=k,
        which=which,
        loss="mse",
        vectors=True,
        batch_size=batch_size,
        tolerance=1e-12,
    )
    matrix = hessian_of(vector_of(model))
    expected = np.linalg.eigvalsh(matrix)[chosen]
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-8)
    for value, parts in zip(found.eigenvalues, found.directions, strict=True):
        shapes = [v.shape for v in model.trainable_variables]
        assert [part.shape for part in parts] == shapes
        vector = np.concatenate([part.ravel() for part in parts])
        np.testing.assert_allclose(matrix @ vector, value * vector, atol=1e-7)
        np.testing.assert_allclose(np.linalg.norm(vector), 1.0, rtol=1e-10)


def test_few_weights_are_treated_as_a_matrix_with_the_same_result():
    model = dense_model(2, 2)  # 14 weights
    found = hessian_spectrum(model, (X, Y), k=3, loss="mse")
    expected = np.linalg.eigvalsh(hessian_of(vector_of(model), (2, 2)))
    np.testing.assert_allclose(
        found.eigenvalues, expected[[0, 1, 2, -3, -2, -1]], atol=1e-8
    )
    assert found.directions is None


def test_float32_gives_the_same_to_its_precision():
    model = dense_model(*UNITS, dtype="float32")
    found = hessian_spectrum(model, (X, Y), k=2, loss="mse")
    expected = np.linalg.eigvalsh(hessian_of(vector_of(model)))[[0, 1, -2, -1]]
    np.testing.assert_allclose(
        found.eigenvalues, expected, atol=1e-5 * expected[-1]
    )


def test_a_hessian_of_zero_has_eigenvalues_of_zero():
    model = dense_model(6, 4, 2)
    model.set_weights([np.zeros(w.shape) for w in model.weights])
    for y in (np.zeros((11, 2)), Y - Y.mean(axis=0)):
        found = hessian_spectrum(model, (X, y), k=1, loss="mse")
        # The output's bias alone has a slope: its Hessian is 2 / 2 for each.
        np.testing.assert_allclose(found.eigenvalues, [0, 1], atol=1e-6)
        model.layers[-1].bias.assign(np.zeros(2))
    model.layers[-1].trainable = False
    found = hessian_spectrum(model, (X, Y), k=1, loss="mse")
    np.testing.assert_array_equal(found.eigenvalues, [0, 0])


def batches_of(kind):
    pairs = [(X[:4], Y[:4]), (X[4:8], Y[4:8]), (X[8:], Y[8:])]
    if kind == "list":
        return pairs
    if kind == "dataset":
        tf = pytest.importorskip("tensorflow")
        return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)

    class Own(keras.utils.PyDataset):
        def __len__(self):
            return len(pairs)

        def __getitem__(self, index):
            return pairs[index]

    return Own()


@pytest.mark.parametrize("kind", ["list", "dataset", "pydataset"])
def test_batches_of_all_kinds_give_the_mean_over_all_examples(kind):
    model = dense_model(*UNITS)
    model.compile(loss="mse")
    found = hessian_spectrum(model, batches_of(kind), k=1, which="largest")
    expected = np.linalg.eigvalsh(hessian_of(vector_of(model)))[-1:]
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-5)


def test_weights_of_examples_count():
    model = dense_model(2, 2)
    weights = np.repeat([1.0, 0.0], [5, 6])
    some, few = (
        hessian_spectrum(model, data, k=2, loss="mse").eigenvalues
        for data in ((X, Y, weights), (X[:5], Y[:5]))
    )
    np.testing.assert_allclose(some * 11 / 5, few, rtol=1e-6)


def layered(*layers, inputs=(6, 3), dtype=None):
    return keras.Sequential(
        [keras.Input(inputs, dtype=dtype), *layers, keras.layers.Dense(2)]
    )


KINDS = {
    "penalties": lambda: layered(
        keras.layers.Flatten(),
        keras.layers.Dense(
            4, "tanh", kernel_regularizer="l2", activity_regularizer="l2"
        ),
    ),
    "recurrent": lambda: layered(keras.layers.LSTM(4)),
    "gated": lambda: layered(keras.layers.GRU(4)),
    "embedding": lambda: layered(
        keras.layers.Embedding(9, 3),
        keras.layers.Flatten(),
        inputs=(6,),
        dtype="int32",
    ),
    "convolution": lambda: layered(
        keras.layers.Conv1D(4, 3, activation="gelu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.MaxPooling1D(),
        keras.layers.Flatten(),
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_products_of_all_layers_are_differences_of_gradients(kind):
    model = KINDS[kind]()
    x = RNG.normal(size=(5, *model.input_shape[1:]))
    if kind == "embedding":
        x = RNG.integers(0, 9, (5, 6))
    model.compile(loss="mse")
    before = [np.array(v) for v in model.variables]
    objective = MeanLoss(model, (x, Y[:5]), None, 3)
    direction = RNG.normal(size=objective.size)
    direction /= np.linalg.norm(direction)
    product = objective.hessian()(direction)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    sides = []
    for step in (1e-2, -1e-2):
        parts = objective.split(objective.vector() + step * direction)
        kept = [np.array(v) for v in model.trainable_variables]
        for variable, part in zip(
            model.trainable_variables, parts, strict=True
        ):
            variable.assign(part)
        sides.append(objective.gradient())
        for variable, part in zip(model.trainable_variables, kept, strict=True):
            variable.assign(part)
    np.testing.assert_allclose(
        product, (sides[0] - sides[1]) / 2e-2, atol=2e-3 * abs(product).max()
    )
    np.testing.assert_allclose(
        objective.value(),
        model.evaluate(x, Y[:5], verbose=0, batch_size=3),
        rtol=1e-5,
    )


def test_several_inputs_and_outputs_are_one_loss():
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    both = keras.layers.Concatenate()([a, b])
    outputs = {
        "u": keras.layers.Dense(1, name="u")(both),
        "v": keras.layers.Dense(2, name="v")(both),
    }
    model = keras.Model({"a": a, "b": b}, outputs)
    x = {"a": X[:, :2], "b": X[:, 2:]}
    y = {"u": Y[:, :1], "v": Y}
    given = MeanLoss(model, (x, y), "mse", 32).gradient()
    model.compile(loss={"u": "mse", "v": "mse"})
    compiled = MeanLoss(model, (x, y), None, 32).gradient()
    np.testing.assert_array_equal(given, compiled)
    assert np.linalg.norm(given) > 0


def unbuilt():
    return keras.Sequential([keras.layers.Dense(2)])


def untrained():
    model = dense_model(2, 2)
    model.trainable = False
    return model


def of_integers():
    class Counted(keras.layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(
                shape=(2,), dtype="int32", initializer="ones", name="count"
            )

        def call(self, x):
            return x * keras.ops.cast(self.count, x.dtype)

    return layered(Counted(name="counted"), inputs=(2,))


@pytest.mark.parametrize(
    ("make", "data", "options", "words"),
    [
        (unbuilt, (X, Y), {}, "must be built"),
        (untrained, (X, Y), {}, "weights to train"),
        (of_integers, (X[:, :2], Y), {}, "counted/count of int32"),
        (dense_model, (X, Y), {"loss": None}, "has no loss"),
        (dense_model, (X, Y), {"k": 0}, "`k` must be a whole"),
        (dense_model, (X, Y), {"k": 55}, "at most 54"),
        (dense_model, (X, Y), {"which": "middle"}, "`which` must be"),
        (dense_model, (X, Y), {"tolerance": 0.0}, "`tolerance` must"),
        (dense_model, (X, Y), {"batch_size": 0}, "`batch_size` must"),
        (dense_model, (X, Y[:5]), {}, r"\[5, 11\] examples"),
        (dense_model, (X[:0], Y[:0]), {}, r"\[0\] examples"),
        (dense_model, [(X, Y[:5])], {}, r"\[5, 11\] examples"),
        (dense_model, [], {}, "hold a batch or more"),
        (dense_model, iter([(X, Y)]), {}, "read several times"),
        (dense_model, X, {}, r"tuples \(x, y\)"),
        (dense_model, 3, {}, r"a tuple \(x, y\) or batches"),
        (dense_model, (X, Y, None, None), {}, r"tuples \(x, y\)"),
        (dense_model, (X, np.full((11, 2), "a")), {}, "arrays of numbers"),
        (dense_model, (X, Y * np.nan), {}, "one finite number"),
        (
            dense_model,
            (X, Y),
            {"loss": keras.losses.MeanSquaredError(reduction=None)},
            "one finite number",
        ),
    ],
)
def test_what_has_no_spectrum_is_said_in_one_line(make, data, options, words):
    model = make(*UNITS) if make is dense_model else make()
    with pytest.raises(ValueError, match=words) as said:
        hessian_spectrum(model, data, **{"loss": "mse", **options})
    assert "\n" not in str(said.value)
