"""Train a recipe: `python train.py [RECIPE]`; see `--help`."""

import os
import sys
import tempfile


def command_line():
    """Import kbp's command line without TensorFlow's start-up messages.

    They come from C++, before any log level counts, and would hide the one
    line that says what is wrong with a recipe. If the import fails, they show.
    """
    with tempfile.TemporaryFile() as messages:
        stderr = os.dup(2)
        os.dup2(messages.fileno(), 2)
        try:
            from kbp.__main__ import main
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    return main


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main = command_line()
    sys.exit(main(["train", *sys.argv[1:]], program="train.py"))
