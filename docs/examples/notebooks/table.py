# %% [markdown]
# # A table becomes an 8-bit file that takes raw numbers
#
# The measurements are those of 178 wines of three cultivars, which come with
# scikit-learn; every fifth row is kept apart.

# %%
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_wine

from kbp.__main__ import main as kbp_command

wine = load_wine(as_frame=True)
frame = wine.data.assign(
    cultivar=[str(wine.target_names[i]) for i in wine.target]
)
frame = frame.sample(frac=1, random_state=0)
frame[::5].to_csv("new.csv", index=False)
frame.drop(frame.index[::5]).to_csv("wine.csv", index=False)

# %% [markdown]
# ## 1. A recipe
#
# The first line of the file names the columns. Means, deviations and categories
# go into the model, so the file takes the table's own units.

# %%
recipe = """
[model]
architecture = "residual_mlp"

[data]
name = "csv_table"
file = "wine.csv"
target = "cultivar"

[training]
epochs = 60
keep_best = true
"""
Path("wine.toml").write_text(recipe)
kbp_command(["train", "wine.toml", "--workdir", "runs/wine"])

# %% [markdown]
# `runs/wine/report.html` sets the network beside a linear method and boosted
# trees, on the same rows.
#
# ## 2. New rows

# %%
kbp_command(["predict", "runs/wine", "new.csv", "--out", "predictions"])
answers = pd.read_csv("predictions/predictions.csv")
accuracy = float((answers["predicted"] == answers["cultivar"]).mean())
print(f"{accuracy:.1%} of {len(answers)} new wines")
print(answers[["cultivar", "predicted", "probability"]].head())
