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
# # From which layer on can the emotion be read?
#
# **Redoes** the layer curves of affect-reception (*Whether, Not Which*, its layer trajectories and
# probe curves), of *Decoding Emotion in the Deep* (probe score against depth) and the layer x site
# map of Tak et al. **Adds** what those figures lack: the text-only baselines on the same folds,
# and what the same probe learns by heart.
#
# Change `MODEL` and `STIMULI` to redo it for yours. `preset="quick"` takes a few scenarios; say
# `standard` for numbers that you mean to report.

# %%
from pathlib import Path

from IPython.display import Image

import interp
from interp.reporting.figures import as_bytes
from interp.results import read_tables

MODEL = "storyworld"
STIMULI = "storyworld"
RUN = Path("runs") / f"notebooks-{Path(MODEL).name}"  # shared by the notebooks; it resumes

# %% [markdown]
# ## One study, one table
#
# The study records every layer once and probes each site. All that follows is drawn from one
# table. Two questions are asked. *Reception*: is this text the emotional one of its two twins?
# *Categorisation*: which of the emotions is it?

# %%
interp.run(MODEL, STIMULI, RUN, preset="quick", stages=["probes"])

table = read_tables(RUN, ["probes"])["probes"]
table.columns.tolist()

# %% [markdown]
# ## The curve
#
# Read the solid line against the grey band, not against 0.5. The band is the best classifier that
# sees the words alone. The dotted line is what the probe could learn by heart of labels drawn at
# random for each scenario.

# %%
Image(as_bytes(interp.draw("probe_curves", table, published=True), "png"))

# %% [markdown]
# ## The layer, as a number
#
# The best layer of a curve flatters: it was picked on the scores that it is told with. Here each
# fold chose its layer on its training scenarios only (`nested_auroc`), and `above_text` is the
# paired distance to each text baseline on the same folds.

# %%
told = table[table.metric.isin(["nested_auroc", "above_text"])]
told[["task", "metric", "target", "value", "ci_low", "ci_high", "n", "p", "chosen_by"]]

# %% [markdown]
# ## What else the same activations give away
#
# Length, negation, domain and person are read by the same probe at the same place. Where they are
# read as well as the emotion, the probe may have found them instead.

# %%
nuisance = table[(table.control == "nuisance") & (table.metric == "auroc")]
nuisance.pivot_table(index="layer", columns="target", values="value", aggfunc="max").round(3)

# %% [markdown]
# ## What would change this conclusion
#
# - **A text baseline as high as the probe.** Then the battery gives the answer away, and nothing
#   is said of the model. `interp stimuli audit` looks for this before any model is loaded.
# - **A memorisation line as high as the probe.** Then there are too few scenarios for this width.
# - **Another battery.** A layer is a fact about a model *and* these texts. Try `plutchik` or
#   `plain`.
# - **A probe reads; the model may not.** That a classifier finds it does not say that the model
#   uses it: see `04_patching` and `05_heads_and_neurons`.
