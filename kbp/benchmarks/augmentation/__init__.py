"""Random changes of images, beside those of Keras and albumentations."""
