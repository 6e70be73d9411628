"""Recordings of events for tests: which half of the channels is the first."""

import numpy as np

CLASSES = ("falling", "rising")
CHANNELS = 6


def write(folder, count, *, seed=0, classes=CLASSES):
    """Write recordings, CSV and NPZ in turn.

    Args:
        folder: gets a folder for each class.
        count: of each class.
        seed: of what is drawn.
        classes: to write.

    Returns:
        The classes of the files, by their paths.
    """
    rng, found = np.random.default_rng(seed), {}
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            time = np.sort(rng.integers(0, 10_000, 60))
            first = (time < 5000) == (name == "rising")
            channel = rng.integers(0, CHANNELS // 2, 60)
            columns = {
                "time": time + 1_000_000 * index,
                "channel": channel + np.where(first, 0, CHANNELS // 2),
                "polarity": rng.integers(0, 2, 60),
            }
            path = folder / name / f"r{index:02d}.{('csv', 'npz')[index % 2]}"
            if path.suffix == ".npz":
                np.savez(path, **columns)
            else:
                rows = np.stack([*columns.values()], axis=1)
                np.savetxt(
                    path,
                    rows,
                    fmt="%d",
                    delimiter=",",
                    header=",".join(columns),
                    comments="",
                )
            found[path] = name
    return found


def section(folder, **keys):
    """Return `[data]` of such recordings."""
    return {
        "name": "events",
        "folder": str(folder),
        "channels": CHANNELS,
        "timesteps": 8,
        **keys,
    }
