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
# # Which heads and neurons write it, and is anything lost without them?
#
# **Redoes** from *Emotion Circuits*: the long tail of contributions, ablation of heads and of
# neurons against k with a random control. **Adds** sets drawn at random from the same layers, and
# whether an emotion loses more than the others do.

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
# ## What each head adds along the direction
#
# Exact: the heads' outputs, written into the stream, projected on each emotion's direction.

# %%
interp.run(MODEL, STIMULI, RUN, preset="quick", stages=["contributions", "ablation"])

tables = read_tables(RUN, ["contributions", "ablation"])
Image(as_bytes(interp.draw("head_contributions", tables["contributions"]), "png"))

# %% [markdown]
# ## Many neurons or few?
#
# A steep start means that a handful add most of it.

# %%
Image(as_bytes(interp.draw("neuron_tail", tables["contributions"]), "png"))

# %% [markdown]
# ## Without them
#
# The top k are chosen on one half of the scenarios and silenced on the other. A fall counts only
# as far as it is larger than with random components of the same layers. What the projection loses
# says little, since the projection chose them; the emotion's words did not.

# %%
Image(as_bytes(interp.draw("ablation_label", tables["ablation"]), "png"))

# %% [markdown]
# ## Its own, or everybody's?
#
# A blue diagonal on white: each emotion has parts of its own. Blue everywhere: parts of emotion in
# general, or of any word in that place.

# %%
Image(as_bytes(interp.draw("ablation_specificity", tables["ablation"]), "png"))

# %% [markdown]
# ## What would change this conclusion
#
# - **Random sets that do as much.** Column `least_p` says how small a p these draws can give at
#   all.
# - **A matrix without a diagonal.** Then "the anger head" is the wrong name, whatever anger loses.
# - **Another stand-in.** Components are replaced by those of the twin (`resample`). Zeroing them
#   takes more away than the emotion: try `--ablate-with mean`.
# - **Help from behind.** Later layers may make up for what is lost. No fall does not prove that a
#   head is idle.
