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
from interp.evaluation.judges import judge_for
from interp.reporting.figures import as_bytes
from interp.results import read_tables

MODEL = "storyworld"
STIMULI = "storyworld"
RUN = Path("runs") / f"notebooks-{Path(MODEL).name}-steering"  # its own, since it names a judge

# %% [markdown]
# ## How often a judge hears it
#
# The star is the half of the prompts that chose nothing. *Valid* is the share of texts in which a
# feeling can be named at all. A testbed's judge is its oracle, which knows what its words mean. Any
# other model is asked itself which of the emotions' words comes next: a forced choice, and no
# second reader.

# %%
judge = "forced_choice" if judge_for(interp.load(MODEL)) is None else "oracle"
asked = {"stages": ["steering"], "sites": ["resid_post"], "judge": judge}
interp.run(MODEL, STIMULI, RUN, preset="quick", **asked)

tables = read_tables(RUN, ["steering", "steered_texts"])
Image(as_bytes(interp.draw("steering_success", tables["steering"], published=True), "png"))

# %% [markdown]
# ## Without writing anything
#
# The emotion's words at the end of the text, by strength. The other emotions' words are the
# control that shows whether one emotion is raised, or all.

# %%
Image(as_bytes(interp.draw("steering_dose", tables["steering"]), "png"))

# %% [markdown]
# ## Read them
#
# No share replaces reading. One emotion, four neutral stories of the half that chose nothing, the
# unsteered text above the steered. All texts are in `steered_texts`.

# %%
texts = tables["steered_texts"]
texts = texts[texts.half == "report"]
emotion = texts.emotion.iloc[0]
mine = texts[texts.emotion == emotion]
told = mine.pivot(index=["item", "prompt"], columns="control", values="text")
for (_, prompt), by_arm in told.head(4).iterrows():
    plain, steered = by_arm["unsteered"].strip(), by_arm[""].strip()
    print(f"{prompt}\n   unsteered: {plain}\n   {emotion}: {steered}\n")

# %% [markdown]
# ## What would change this conclusion
#
# - **Random directions that do as well.** Any push of this length may change the text.
# - **A judge who says yes to anything.** A judge told the target accepts empty templates: *Emotion
#   Circuits*' 99.4 % is 88.9 % under a forced choice. `--judge forced_choice` asks that way.
# - **Valid texts that fall with strength.** Success means nothing where the text has broken down.
# - **Other emotions that rise as much.** Then it is affect that was added, and not this emotion.
# - **This model.** `storyworld` was built to have an emotion circuit. On SmolLM2 these directions,
#   of twins, write an emotion no oftener than random ones; those that `interp steer` makes, centred
#   over the emotions, in about a third of the texts (see the README).
