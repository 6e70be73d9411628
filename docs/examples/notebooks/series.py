# %% [markdown]
# # Forecasts of a CSV, with intervals
#
# Half a year of an hourly load, made up: a day, a week, and noise.

# %%
from pathlib import Path

import numpy as np
import pandas as pd

from kbp.__main__ import main as kbp_command

rng = np.random.default_rng(0)
hours = pd.date_range("2025-01-06", periods=26 * 168, freq="h")
daily = 60 * np.sin(2 * np.pi * (hours.hour - 7) / 24)
weekly = np.where(hours.day_of_week < 5, 40, -60)
load = 500 + daily + weekly + rng.normal(0, 8, len(hours))
frame = pd.DataFrame({"date": hours, "load": load.round(1)})
frame.to_csv("load.csv", index=False)

# %% [markdown]
# ## 1. A recipe
#
# Two weeks are seen, a day is forecast. `num_layers = 0` leaves the attention
# out: the forecast is a ridge regression in closed form, and nothing is
# trained.

# %%
recipe = """
[model]
architecture = "bp_transformer"
num_layers = 0

[data]
name = "csv_series"
file = "load.csv"
time_column = "date"
target = ["load"]
lookback = 336
horizon = 24

[training]
epochs = 0

[quantization]
epochs = 0
"""
Path("load.toml").write_text(recipe)
kbp_command(["train", "load.toml", "--workdir", "runs/load"])

# %% [markdown]
# ## 2. The next day
#
# `runs/load/report.html` has the errors in the load's own units, beside those
# of naive forecasts. The command line for this is
# `python -m kbp forecast runs/load load.csv --out forecasts`.

# %%
kbp_command(["forecast", "runs/load", "load.csv", "--out", "forecasts"])
ahead = pd.read_csv("forecasts/load_forecast.csv")
print(ahead[["date", "load", "load_low_95", "load_high_95"]].head())

# %% [markdown]
# The load was made up, so the truth is known but for its noise:

# %%
times = hours[-1] + pd.to_timedelta(np.arange(1, 25), unit="h")
truth = 500 + 60 * np.sin(2 * np.pi * (times.hour - 7) / 24)
truth = truth + np.where(times.day_of_week < 5, 40, -60)
error = float(np.abs(ahead["load"] - truth).mean())
inside = (ahead["load_low_95"] <= truth) & (truth <= ahead["load_high_95"])
coverage = float(inside.mean())
print(f"off by {error:.1f} on average; {coverage:.0%} inside the interval")
