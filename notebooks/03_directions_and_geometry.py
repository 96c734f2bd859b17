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
# # Directions, and how they lie to each other
#
# **Redoes** the cosine matrices of affect-reception and *Under Pressure*, and the separation by
# emotion of *Emotion Circuits*. **Adds** the stability of each direction between halves of the
# scenarios, held-out lengths, and the cosines once the common part is taken off.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Image

import interp
from interp.reporting.figures import as_bytes
from interp.results import read_tables

MODEL = "storyworld"
STIMULI = "storyworld"
RUN = Path("runs") / f"notebooks-{Path(MODEL).name}"  # shared by the notebooks; it resumes

# %% [markdown]
# ## One direction per emotion and layer
#
# A direction is the mean difference of an emotion's twins. It is scored on scenarios that it was
# not made from.

# %%
interp.run(MODEL, STIMULI, RUN, preset="quick", stages=["directions", "cosines"])

tables = read_tables(RUN, ["directions", "cosines"])
Image(as_bytes(interp.draw("direction_separation", tables["directions"]), "png"))

# %% [markdown]
# ## Would other scenarios give the same one?
#
# Make it from one half of the scenarios and from the other. Near 1 the two agree. Do not interpret
# what does not agree with itself.

# %%
Image(as_bytes(interp.draw("direction_stability", tables["directions"]), "png"))

# %% [markdown]
# ## How alike are they?
#
# All are made against neutral texts, so all share "there is emotion here". That part lifts every
# cosine. Published matrices of .8 to .98 show it, and little else.

# %%
cosines = tables["cosines"][tables["cosines"].layer == tables["cosines"].layer.max()]
Image(as_bytes(interp.draw("direction_cosines", cosines), "png"))

# %% [markdown]
# ## Without the common part
#
# Subtract the mean of all directions and compare again. Centring has its own artefact: eight
# centred vectors have a mean cosine of -1/7 whatever they are.

# %%
site = interp.Site.parse(f"blocks.{int(cosines.layer.iloc[0])}.hook_resid_post")
files = sorted((RUN / "directions").glob("*.safetensors"))
directions = [one for one in map(interp.Direction.load, files) if one.site == site]
emotions = [one.labels[0] for one in directions]
steps = np.stack([one.step for one in directions])
centred = steps - steps.mean(axis=0)
unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
cells = pd.DataFrame(unit @ unit.T, index=emotions, columns=emotions)
values = [cells.loc[row.emotion, row.target] for row in cosines.itertuples()]
shown = cosines.assign(value=values, method="group_centred", ci_low=np.nan, ci_high=np.nan)
Image(as_bytes(interp.draw("direction_cosines", shown), "png"))

# %% [markdown]
# ## What would change this conclusion
#
# - **An unstable direction.** Its row in the matrix is noise, however clear the colour.
# - **One shared axis.** If hardly anything is left after centring, there is one direction of
#   affect and not one per emotion. Look at how far the eight lengths shrink.
# - **Another layer.** The matrix is of the last layer. In `storyworld` the emotions part only
#   there.
# - **What was centred on.** The mean of *these* eight emotions is no natural zero. With other
#   emotions in the battery, other cosines come out.
