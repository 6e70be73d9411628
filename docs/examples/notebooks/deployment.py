# %% [markdown]
# # An 8-bit file in ten lines, without kbp
#
# On a device there are LiteRT and NumPy alone. This file is of the model zoo;
# that of a run, `model_int8.tflite`, works the same way.

# %%
import numpy as np
from sklearn.datasets import load_digits

import kbp

path = str(kbp.zoo.file("pyramid_bpnet_small.digits"))  # after checking it
digits = load_digits()

# %% [markdown]
# The model was trained on images of 32x32 pixels from 0 to 1: each pixel of the
# digits four times wide and high. Now the ten lines:

# %%
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(path)
interpreter.allocate_tensors()
(taken,) = interpreter.get_input_details()
(given,) = interpreter.get_output_details()
scale, zero = taken["quantization"]


def label(image):
    integers = np.clip(np.round(image / scale) + zero, -128, 127)
    interpreter.set_tensor(taken["index"], integers[None].astype("int8"))
    interpreter.invoke()
    return int(interpreter.get_tensor(given["index"])[0].argmax())


# %% [markdown]
# The largest of the ten integers is the digit, so the output's own scale is not
# needed. The digits here are those that the model was trained on and tested
# with together:

# %%
images = digits.images.repeat(4, axis=1).repeat(4, axis=2)[..., None] / 16
answers = [label(image) for image in images]
accuracy = float(np.mean(answers == digits.target))
print(f"{accuracy:.1%} of {len(images):,} digits")
