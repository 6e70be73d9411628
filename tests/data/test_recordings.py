"""Recordings of events, counted in time steps."""

import numpy as np
import pytest

from kbp.data.recordings import Binning
from kbp.errors import UserError


def write(path, **columns):
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return path
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def counted(time, place, begin, length, timesteps, channels):
    """Count events one by one, from the definition."""
    found = np.zeros((timesteps, channels))
    for t, k in zip(time, place, strict=True):
        for step in range(timesteps):
            # In whole numbers, which are exact.
            low, high = step * length, (step + 1) * length
            last = step == timesteps - 1 and (t - begin) == length
            if low <= (t - begin) * timesteps < high or last:
                found[step, k] += 1
    return found


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
@pytest.mark.parametrize("polarity", ["both", "ignore"])
def test_events_count_in_their_steps_and_channels(tmp_path, suffix, polarity):
    rng = np.random.default_rng(3)
    begin = 1_700_000_000_000_000  # microseconds, as of a clock
    time = begin + np.sort(rng.integers(0, 1000, 300))
    time[0], time[-1] = begin, begin + 1000
    columns = {
        "time": time,
        "channel": rng.integers(0, 5, 300),
        "polarity": rng.integers(0, 2, 300),
    }
    path = write(tmp_path / f"a{suffix}", **columns)
    binning = Binning(7, channels=5, polarity=polarity)
    place, channels = columns["channel"], 5
    if polarity == "both":
        place, channels = 2 * place + columns["polarity"], 10
    found = binning.read(path)
    assert binning.shape == found.values.shape == (7, channels)
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(
        found.values, counted(time, place, begin, 1000, 7, channels)
    )
    assert not found.outside
    assert not found.goes_back


def test_pixels_count_in_blocks_row_by_row(tmp_path):
    columns = {"time": [0, 1, 2], "x": [0, 4, 3], "y": [0, 2, 1]}
    path = write(tmp_path / "a.csv", polarity=[-1, 1, 1], **columns)
    values = Binning(1, height=3, width=5, block=2).read(path).values
    images = values.reshape(2, 3, 2)  # 2 x 3 blocks of 2 polarities
    expected = np.zeros((2, 3, 2))
    expected[0, 0, 0] = expected[1, 2, 1] = expected[0, 1, 1] = 1
    np.testing.assert_array_equal(images, expected)


def test_a_duration_leaves_later_events_out(tmp_path):
    path = write(
        tmp_path / "a.csv", time=[2.5, 2.0, 3.999, 4.0, 9.0], channel=[0] * 5
    )
    binning = Binning(2, channels=1, polarity="ignore", duration=2.0)
    found = binning.read(path)
    assert found.values[:, 0].tolist() == [2, 1]
    assert found.outside == 2
    assert found.goes_back
    zero = Binning(
        2, channels=1, polarity="ignore", duration=4.0, origin="zero"
    )
    assert zero.read(path).values[:, 0].tolist() == [0, 3]


def test_spikes_are_counts_of_at_most_one(tmp_path):
    path = write(tmp_path / "a.npz", time=[0.0, 0.1, 1.0], channel=[1, 1, 0])
    binning = Binning(2, channels=2, polarity="ignore", values="spikes")
    assert binning.read(path).values.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    "time", [[5.0], [5.0, 5.0], [-1e99, 1e99], [0.0, 5e-324], [-(2**63), 2**62]]
)
def test_any_finite_times_are_counted(tmp_path, time):
    path = write(
        tmp_path / "a.npz", time=np.array(time), channel=[0] * len(time)
    )
    for duration in (0.0, 5e-324, 1e12):
        binning = Binning(3, channels=1, polarity="ignore", duration=duration)
        found = binning.read(path)
        assert found.values.sum() + found.outside == len(time)


WRONG = {
    "late channel": (
        {"channel": [0, 3]},
        {},
        r"line 3: channel is '3'.*0 to 2",
    ),
    "negative": ({"channel": [-1, 0]}, {}, r"line 2: channel is '-1'"),
    "a part": ({"channel": [0, 0.5]}, {}, r"channel is '0.5', no whole"),
    "words": ({"time": ["now", "1"]}, {}, r"line 2: time is 'now', no number"),
    "no time": ({"time": ["inf", "1"]}, {}, r"time is 'inf', no time"),
    "before": ({"time": [-1, 1]}, {"origin": "zero"}, "before 0; data.origin"),
    "polarity": ({"polarity": [2, 0]}, {"polarity": "both"}, "neither 1 nor"),
    "mixed": ({"polarity": [-1, 0]}, {"polarity": "both"}, "both 0 and -1"),
    "no polarity": ({}, {"polarity": "both"}, 'data.polarity = "ignore"'),
    "pixels": ({}, {"channels": 0, "height": 2, "width": 2}, "no column x and"),
    "unknown": ({"size": [1, 1]}, {}, "holds size; known columns are"),
}


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
@pytest.mark.parametrize(
    ("columns", "options", "words"), WRONG.values(), ids=WRONG
)
def test_wrong_recordings_are_named(tmp_path, suffix, columns, options, words):
    columns = {"time": [0, 1], "channel": [0, 1], **columns}
    if suffix == ".npz":
        words = words.replace("line 3", "event 2").replace("line 2", "event 1")
        if columns["time"][0] == "now":
            words = "array time holds <U3, no numbers"
        elif columns["time"][0] == "inf":
            columns["time"] = [np.inf, 1.0]
    path = write(tmp_path / f"a{suffix}", **columns)
    binning = Binning(4, **{"channels": 3, "polarity": "ignore", **options})
    with pytest.raises(UserError, match=words) as error:
        binning.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"time,channel\n", "holds no rows"),
        ("a.csv", b"time,channel\n1\n", "line 2: has 1 fields"),
        ("a.csv", b"\x00\x01" * 50, "byte of zero"),
        ("a.npz", b"PK\x03\x04", "cannot be read"),
    ],
)
def test_damaged_recordings_are_named(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    binning = Binning(4, channels=3, polarity="ignore")
    with pytest.raises(UserError, match=words) as error:
        binning.read(path)
    assert str(path) in str(error.value)


def test_arrays_must_be_of_one_length(tmp_path):
    binning = Binning(4, channels=3, polarity="ignore")
    for time in ([0, 1, 2], [[0, 1]], 3):
        path = write(tmp_path / "a.npz", time=time, channel=[0, 1])
        with pytest.raises(UserError, match="one axis and one length"):
            binning.read(path)
    empty = write(tmp_path / "b.npz", time=[], channel=[])
    with pytest.raises(UserError, match="holds no event"):
        binning.read(empty)
