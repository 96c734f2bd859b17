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
# # Do the methods find what is known to be there?
#
# **Redoes** nothing: no published work has this figure. Two small models were written by hand.
# `planted` has an emotion circuit whose directions, heads, neurons and layers are known. In
# `planted_null` there is none, and every method must come out empty.

# %%
import pandas as pd

from interp.evaluation.truth import check_truth

MODEL = "planted"  # beside it, planted_null: the same texts and no circuit
STIMULI = "planted"

# %% [markdown]
# ## Every method on both
#
# Each row is one thing that was planted and one method that looked for it. All is fitted on one
# half of the scenarios and scored on the other; values are the worst over the emotions.

# %%
pd.set_option("display.max_rows", None)
found = pd.DataFrame(check_truth(seed=0))
found.round(3)

# %% [markdown]
# ## How to read the metrics
#
# | metric | good | it says |
# |---|---|---|
# | cosine | 1 | the direction found is the one planted |
# | auroc | 1 with the circuit, about 0.5 without | planted parts rank above the others |
# | error | 0 | distance to the closed form, or in layers |
# | rate | 1 with the circuit, small without | share of cases that came out as planted |
# | p | small with the circuit, not without | corrected over layers |
#
# `lda` and `logistic` look for what separates the twins best, and not for the shift between them.
# With many more dimensions than texts the two part: a cosine of .4 to .5 is what they give here.

# %% [markdown]
# ## What would change this conclusion
#
# - **A method that finds something in `planted_null`.** Then it finds things that are not there,
#   and what it says of your model is worth nothing.
# - **A model that is less tidy.** A planted circuit is linear and clean. A method that fails here
#   fails everywhere; one that passes here may still fail on a real model.
# - **Statistics.** Whether p and intervals are what they say is a question of many data sets:
#   `interp calibrate` asks it (minutes).
