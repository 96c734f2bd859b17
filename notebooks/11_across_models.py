# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The same texts, two models
#
# **Redoes** the comparisons over models of affect-reception (scale, base against instruct) and of
# *Decoding Emotion in the Deep* (depth x size), as a table. **Adds** a model of the same shape
# that has no emotion in it: the height that a curve reaches for free.

# %%
import pandas as pd

import interp

MODEL = "planted"
OTHER_MODEL = "planted_null"  # another size, or the base model of an instruct one
STIMULI = "planted"

# %% [markdown]
# ## The same probe on both
#
# `depth` is (layer + 1) / n_layers, so that models of different depth stand beside each other.

# %%
whole = interp.battery(STIMULI)
pairs = whole.pairs()[::2]
battery = interp.Battery(whole.name, tuple(item for pair in pairs for item in pair))
tables = []
for name in (MODEL, OTHER_MODEL):
    model = interp.load(name)
    tables.append(interp.probe(interp.record(model, battery), battery).assign(model=name))
table = pd.concat(tables, ignore_index=True)

# %%
probes = table[(table.metric == "auroc") & (table.control == "")]
probes.pivot_table(index="depth", columns="model", values="value").round(3)

# %% [markdown]
# ## Is the difference larger than chance?
#
# The text baselines are the same for both: they never see a model. A model is ahead of another
# only where its interval is; and each has to be above the words first.

# %%
told = table[table.metric.isin(["nested_auroc", "above_text"])]
told[["model", "metric", "target", "value", "ci_low", "ci_high", "n", "p"]].round(3)

# %% [markdown]
# ## What would change this conclusion
#
# - **Two models are two cases.** "Larger models do it earlier" needs more than two sizes, and
#   models that differ in nothing else.
# - **Other tokens.** Models cut texts differently, so a text's last token is not the same thing in
#   both. Compare with the mean over tokens, too.
# - **Intervals that overlap.** They are over scenarios. Nothing here is over training runs.
# - **The height of the empty model.** What the second model reaches without any emotion is what
#   the battery and the width give away.
