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
# # What one patched state brings along
#
# **Redoes** the patching bars and the site x layer map of affect-reception, and the span map of
# Tak et al. **Adds** intervals over the *source* stories, both directions (bring it, take it
# away), and a patch from another scenario as a control.

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
# ## The map
#
# The state of the emotional text is put into its neutral twin, at one site and layer. 0: nothing
# changes. 1: the model answers as for the emotional text. In brackets: the interval holds zero.
# `denoise` brings the emotion, `noise` takes it away.

# %%
interp.run(MODEL, STIMULI, RUN, preset="quick", stages=["patching"])

table = read_tables(RUN, ["patching"])["patching"]
Image(as_bytes(interp.draw("patching_map", table), "png"))

# %% [markdown]
# ## The curve, and another scenario's state
#
# At the *edit* of an early layer a patch only rewrites the words, and of course the answer
# follows: that is no finding. Look at the *last* token. The dotted line is the state of another
# scenario with the same emotion. Where it does as much, what is carried is the emotion and not
# this story.

# %%
Image(as_bytes(interp.draw("patching_curves", table), "png"))

# %% [markdown]
# ## Is there anything to restore?
#
# Restoration is a share of the difference that the twins make. Where the model answers both alike,
# no share exists, and the table says so (column `effect`; `too few` pairs cannot show any).

# %%
total = table[table.metric == "total_effect"]
total[["emotion", "mode", "value", "ci_low", "ci_high", "n", "effect"]].round(3)

# %% [markdown]
# ## What would change this conclusion
#
# - **A control as high as the patch.** Then the story is not what was carried. That may be what
#   you want to show, but say it.
# - **A late layer at the last token.** It copies the output. That says nothing about where the
#   emotion was made.
# - **Few sources.** Published maps rest on as few as 8 stories. Read `n` and the brackets.
# - **Other words.** "Answer" is the probability of this project's words for each emotion, after
#   one suffix. `run.json` lists them under `provenance.readout`.
