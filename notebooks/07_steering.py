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
# # Does the model write it when the direction is added?
#
# **Redoes** the success by method of *Emotion Circuits* and the strength sweeps of steering
# papers. **Adds** the unsteered rate, random directions of the same length, a strength chosen on
# one half of the prompts and reported on the other, and the texts themselves.

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
# ## How often a judge hears it
#
# The star is the half of the prompts that chose nothing. *Valid* is the share of texts in which a
# feeling can be named at all.

# %%
interp.run(MODEL, STIMULI, RUN, preset="quick", stages=["steering"])

table = read_tables(RUN, ["steering"])["steering"]
Image(as_bytes(interp.draw("steering_success", table), "png"))

# %% [markdown]
# ## Without writing anything
#
# The emotion's words at the end of the text, by strength. The other emotions' words are the
# control that shows whether one emotion is raised, or all.

# %%
Image(as_bytes(interp.draw("steering_dose", table), "png"))

# %% [markdown]
# ## Read them
#
# No share replaces reading. One emotion, four neutral stories, the unsteered text above the
# steered.

# %%
steered = table[(table.metric == "success") & (table.half == "report") & (table.control == "")]
layer, emotion = int(steered.layer.iloc[0]), steered.emotion.iloc[0]
files = sorted((RUN / "directions").glob(f"*{emotion}*.safetensors"))
by_layer = {one.site.layer: one for one in map(interp.Direction.load, files)}
model = interp.load(MODEL)
prompts = interp.battery(STIMULI).pairs().neutral[:4]
settings = {"where": "last", "max_new_tokens": 12}
plain, told = (
    interp.steer(model, prompts, by_layer[layer], scale=scale, **settings)
    for scale in (0.0, float(steered.scale.iloc[0]))
)
for prompt, before, after in zip(prompts, plain, told, strict=True):
    print(f"{prompt.text}\n   unsteered: {before.strip()}\n   {emotion}: {after.strip()}\n")

# %% [markdown]
# ## What would change this conclusion
#
# - **Random directions that do as well.** Any push of this length may change the text.
# - **A judge who says yes to anything.** A judge told the target accepts empty templates: *Emotion
#   Circuits*' 99.4 % is 88.9 % under a forced choice. `--judge forced_choice` asks that way.
# - **Valid texts that fall with strength.** Success means nothing where the text has broken down.
# - **Other emotions that rise as much.** Then it is affect that was added, and not this emotion.
# - **This model.** `storyworld` was built to have an emotion circuit. On SmolLM2 steering writes
#   the emotion in about a third of the texts, not in all (see the README).
