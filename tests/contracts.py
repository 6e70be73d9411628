"""What every layer and every optimizer must do."""

import keras
import numpy as np


def as_numpy(x):
    return keras.ops.convert_to_numpy(x)


def image_model(body, shape=(8, 8, 4)):
    """Return the model of a function from one tensor to others."""
    inputs = keras.Input(shape, name="input")
    return keras.Model(inputs, body(inputs))


def check_layer(make, *shapes, tmp_path, listed=False, state=0):
    """Hold a layer class to Keras's contract.

    Args:
        make: function that makes a new layer.
        shapes: of the inputs, without the batch axis.
        tmp_path: folder for files.
        listed: the inputs are one list argument.
        state: number of non-trainable variables.
    """
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(3, *s)).astype("float32") for s in shapes]

    def apply(layer, tensors):
        return layer(list(tensors)) if listed else layer(*tensors)

    layer = make()
    outputs = as_numpy(apply(layer, arrays))
    assert np.isfinite(outputs).all()
    assert len(layer.non_trainable_variables) == state

    # The configuration makes the same layer again, and is plain data.
    config = layer.get_config()
    twin = type(layer).from_config(config)
    assert twin.get_config() == config
    assert keras.saving.serialize_keras_object(layer)["registered_name"][
        :4
    ] == ("kbp>")

    # The symbolic shape is the real one, for any batch size.
    inputs = [keras.Input(s) for s in shapes]
    symbolic = apply(twin, inputs)
    assert symbolic.shape == (None, *outputs.shape[1:])
    shape = (
        [a.shape for a in arrays] if listed else tuple(a.shape for a in arrays)
    )
    computed = (
        layer.compute_output_shape(shape)
        if listed
        else layer.compute_output_shape(*shape)
    )
    assert tuple(computed) == outputs.shape

    # Saved in a model and loaded, it gives the same outputs, bit by bit.
    twin.set_weights(layer.get_weights())
    model = keras.Model(inputs, symbolic)
    np.testing.assert_array_equal(as_numpy(model(arrays)), outputs)
    path = tmp_path / "layer.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(as_numpy(loaded(arrays)), outputs)

    # Every trainable variable receives a gradient, and `fit` changes it.
    before = [as_numpy(v) for v in model.trainable_variables]
    target = rng.normal(size=outputs.shape).astype("float32")
    model.compile(keras.optimizers.SGD(0.1), "mse")
    if before:
        model.fit(arrays, target, epochs=2, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert np.isfinite(as_numpy(new)).all()
        assert not np.array_equal(old, as_numpy(new)), new.path

    # Half precision inside, full precision in the variables.
    mixed = type(layer).from_config(
        {**config, "dtype": "mixed_float16", "name": "mixed"}
    )
    half = apply(mixed, arrays)
    mixed.set_weights(layer.get_weights())
    assert all(v.dtype == "float32" for v in mixed.weights)
    half = as_numpy(apply(mixed, arrays))
    # float16 has 11 bits, and a sum of many terms loses a few more.
    np.testing.assert_allclose(half, outputs, rtol=3e-2, atol=3e-2)


def check_optimizer(make, tmp_path):
    """Hold an optimizer class to Keras's contract."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(64, 4)).astype("float32")
    y = x @ rng.normal(size=(4, 2)).astype("float32")

    def model(**options):
        keras.utils.set_random_seed(3)
        net = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(8, activation="tanh"),
                keras.layers.Dense(2),
            ]
        )
        net.compile(make(**options), "mse")
        return net

    # It trains, and its configuration makes the same optimizer again.
    net = model()
    before, after = net.evaluate(x, y, verbose=0), None
    net.fit(x, y, epochs=5, verbose=0, shuffle=False)
    after = net.evaluate(x, y, verbose=0)
    assert after < before
    config = net.optimizer.get_config()
    assert type(net.optimizer).from_config(config).get_config() == config

    # Saved and loaded in the middle, it goes on bit by bit as if it had not.
    path = tmp_path / "model.keras"
    net.save(path)
    loaded = keras.saving.load_model(path)
    for m in (net, loaded):
        m.fit(x, y, epochs=2, verbose=0, shuffle=False)
    for a, b in zip(net.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b))

    # What the Keras base class offers works.
    for options in (
        {"clipnorm": 1.0, "use_ema": True},
        {"global_clipnorm": 1.0, "gradient_accumulation_steps": 2},
        {"clipvalue": 0.5, "loss_scale_factor": 128.0, "weight_decay": 0.01},
    ):
        net = model(**options)
        net.fit(x, y, epochs=3, verbose=0)
        assert net.evaluate(x, y, verbose=0) < before, options
