"""An hourly load as a utility exports it: a file in German local time."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2022, 12, 31, 23, tzinfo=UTC)  # the local 1 January 2023
HOURS = 8760
AHEAD = 48
HOLES = (1000, 4321, 8000)
_PUBLIC = (
    *((1, 1), (4, 7), (4, 10), (5, 1), (5, 18), (5, 29), (10, 3), (12, 25)),
    (12, 26),
)


def is_free(day):
    """Say whether a day is a public holiday, or one of the works' own."""
    public = (day.month, day.day) in _PUBLIC
    return public or (day.weekday() < 5 and day.toordinal() % 11 == 0)


def series(hours=HOURS + AHEAD, noise=8.0):
    """Return local times, the load in MW, and a one on free days."""
    rng = np.random.default_rng(0)
    times = [
        (BEGIN + timedelta(hours=h)).astimezone(BERLIN) for h in range(hours)
    ]
    free = np.array([is_free(time.date()) for time in times])
    rest = free | np.array([time.weekday() >= 5 for time in times])
    hour = np.array([time.hour for time in times])
    day = np.array([(t.date() - date(2023, 1, 1)).days for t in times])
    work = np.where(
        rest,
        40 * np.exp(-(((hour - 19) / 4) ** 2)),
        160 * np.exp(-(((hour - 12) / 5) ** 2)),
    )
    season = 60 * np.cos(2 * np.pi * day / 365)
    drift = np.zeros(hours)
    for row, step in enumerate(rng.normal(size=hours)):
        drift[row] = 0.9 * drift[row - 1] + noise * 0.4 * step
    load = 420 + season + work + drift + noise * 0.5 * rng.normal(size=hours)
    return times, load, free


def write(file, *, later=AHEAD):
    """Write the file: three holes, and later rows with free days alone."""
    times, load, free = series()
    lines = ["Zeit;Last in MW;Feiertag"]
    for row in range(HOURS + later):
        known = row < HOURS and row not in HOLES
        value = f"{load[row]:.1f}".replace(".", ",") if known else ""
        lines.append(f"{times[row]:%d.%m.%Y %H:%M};{value};{int(free[row])}")
    file.write_text("\n".join(lines) + "\n", encoding="cp1252")
    return times, load, free
