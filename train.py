"""Train a recipe: `python train.py [RECIPE]`, as `python -m kbp train`."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.argv = ["kbp", "train", *sys.argv[1:]]
    from kbp.__main__ import main

    sys.exit(main(program="train.py"))
