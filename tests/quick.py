"""Settings that make the default recipe take seconds."""

EPOCH = (
    "training.epochs=1",
    "quantization.epochs=1",
    "export.benchmark_rounds=1",
)
SETTINGS = (
    *EPOCH,
    "data.image_size=8",
    "model.width=8",
    "model.num_scales=2",
    "model.num_blocks=0",
    "training.batch_size=256",
    # Few channels are too few to prune.
    "sparsity.granularity=element",
    "sparsity.measure=masks",
    "sparsity.target=0.7",
    "sparsity.multiple_of=1",
)
# The same, as words of a command.
WORDS = tuple(word for s in SETTINGS for word in ("--set", s))
