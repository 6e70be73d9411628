"""Networks that are pruned while they train."""

import keras
import numpy as np

import kbp
from kbp import sparsity


def compiled(model, learning_rate=0.01):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kbp.HybridOptimizer(learning_rate), loss)
    return model


def trained(model, data, target=0.6, epochs=4, **schedule):
    pruned = compiled(sparsity.apply_dtm(model))
    callback = sparsity.DTMSchedule(target, every=1, **schedule)
    pruned.fit(*data, epochs=epochs, verbose=0, callbacks=[callback])
    return pruned, callback


def zeros(model):
    """Count the zeros and the weights of each mask."""
    masks = [sparsity.hard_mask(x) for x in sparsity.masked_layers(model)]
    return np.array([(np.sum(m == 0), m.size) for m in masks])
