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
# # Does a small circuit carry each emotion?
#
# **Redoes** from *Emotion Circuits* (*Do LLMs "Feel"?*): the influence of each sublayer, how parts
# are shared out over layers, the overlap of circuits, and what is left without them. **Adds**
# random circuits with as many parts in each layer, intervals, scenarios that chose nothing, and
# circuits that have to do the work at all tokens.
#
# Of the same paper, heads and neurons by their contribution are in `05_heads_and_neurons`, and
# success of steering is in `07_steering`; `interp geometry` draws the clusters of emotions and the
# similarity of sublayers, `interp dissect` what enhancing a part does.

# %%
from pathlib import Path

from IPython.display import Image, display

import interp
from interp.reporting.figures import as_bytes
from interp.results import read_tables

MODEL = "storyworld"
STIMULI = "storyworld"
RUN = Path("runs") / f"notebooks-{Path(MODEL).name}"  # shared by the notebooks; it resumes

# %% [markdown]
# ## Where does a dose arrive?
#
# Each sublayer's own direction is put in, and the end of the model is watched. An influence whose
# band holds 0 is none, however high its line.

# %%
interp.run(MODEL, STIMULI, RUN, preset="quick", stages=["circuit"])

circuits = read_tables(RUN, ["circuit"])["circuit"]
Image(as_bytes(interp.draw("influence_by_depth", circuits), "png"))

# %% [markdown]
# ## How many parts does each layer get?
#
# The share of the layers follows their influence. Mind the floors: a layer without any influence
# gets a few parts, too. So parts in layer 0 are no finding.

# %%
Image(as_bytes(interp.draw("circuit_allocation", circuits), "png"))

# %% [markdown]
# ## The circuits
#
# Read the size of the marks, not their number. Where all panels have the same large marks, there is
# one circuit, and not one per emotion.

# %%
Image(as_bytes(interp.draw("circuit_drawing", circuits), "png"))

# %% [markdown]
# ## Do they suffice?
#
# Everything outside is put to what it is in the neutral twin. 1: as the whole model; 0: as if
# nothing were left. Compare the star with the *random* line: half of all parts do something,
# whichever they are. The second panel asks more: there all other parts are knocked out at *every*
# token, and the circuit has to read the story as well. Emotions whose words the model does not
# surely raise have no panel, for there is nothing to hold a share of.

# %%
kept = circuits[(circuits.metric == "faithfulness") & (circuits.outcome == "words")]
if len(kept):
    display(Image(as_bytes(interp.draw("faithfulness_curve", circuits), "png")))
else:
    print("The model does not surely raise any emotion's words: there is no share to hold.")

# %% [markdown]
# ## What is lost without them?
#
# The circuit alone is knocked out. `left_without` near 0: nothing is left of the emotion's words.
# Beside it (`random`) what is left without as many others of the same layers; `less_without` is the
# difference, with its interval. A claim rests on `above_random` and on `less_without`.

# %%
asked = ["effect", "circuit_faithfulness", "above_random", "left_without", "less_without"]
told = circuits[circuits.metric.isin(asked) & (circuits.outcome == "words")]
told = told[told.emotion == "all"]
shown = ["reach", "metric", "control", "value", "ci_low", "ci_high", "n", "p", "least_p"]
told.reindex(columns=shown).round(3)

# %% [markdown]
# ## One circuit, or one per emotion?
#
# The share of parts that two circuits have in common. Its floor is not 0: circuits of as many parts
# per layer share some by chance (in the titles), and loud parts are chosen for any direction. So
# nothing is claimed of the overlap, whatever it is.

# %%
Image(as_bytes(interp.draw("circuit_overlap", circuits), "png"))

# %% [markdown]
# ## What would change this conclusion
#
# - **Random circuits as high as the circuit.** Then it is the number of parts that suffices.
# - **The other reach.** In `storyworld` a part in 26 does everything at the last token and nothing
#   at all tokens. "This circuit carries anger" is true of the last step alone.
# - **A projection as the outcome.** The parts were chosen by it. The words were not asked when they
#   were chosen: believe these.
# - **A better circuit of the same size.** `--optimal-circuits` looks for one.
# - **Few scenarios.** With `quick` one half has six per emotion to choose on, and two pairs of each
#   are reported. Say `standard` for numbers that you mean to report.
# - **This model.** It was trained to tell stories of emotions. On SmolLM2 no circuit was found
#   (see the page on circuits).
