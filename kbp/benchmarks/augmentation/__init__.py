"""Random changes of images, beside Keras and albumentations."""
