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
# # Quickstart: where does a story model know what its people feel?
#
# `storyworld` is a small language model trained on stories whose emotions follow from what happens
# to whom. Each story has a neutral twin made of the same words in another order, so a bag of words
# cannot tell them apart. Can the model?

# %%
from IPython.display import Image

import interp
from interp.reporting.figures import as_bytes

MODEL = "storyworld"
STIMULI = "storyworld"

# %%
model = interp.load(MODEL)
whole = interp.battery(STIMULI)
pairs = whole.pairs()[::4]  # every fourth scenario: enough to see, quick to run
battery = interp.Battery(whole.name, tuple(item for pair in pairs for item in pair))
battery

# %% [markdown]
# ## The layer curve
#
# One pass records the residual stream after every layer, at the last token. A linear probe then
# tells affective texts from their twins, on scenarios it was not trained on. Beside it stand the
# best text-only baselines and a control task.

# %%
store = interp.record(model, battery)
store

# %%
table = interp.probe(store, battery)
Image(as_bytes(interp.draw("probe_curves", table), "png"))

# %% [markdown]
# ## Steering
#
# The mean difference of the twins is a direction. Added at the last token of a *neutral* story, it
# should decide what the protagonist does next. `scale` 1 adds as much as the twins differ by; 0 is
# the unsteered text. We take the last layer, where the emotion itself is told apart and not only
# that there is one. In most other models that is no good place: only the next word can hear it
# there. `interp steer` takes group-centred directions at two thirds of the depth, and `07_steering`
# chooses place and strength on one half of the prompts.

# %%
anger = interp.direction(store, battery, emotion="anger", site=store.sites[-1])
anger

# %%
prompts = pairs.of("trust").neutral[:5]
settings = {"where": "last", "max_new_tokens": 12}
plain, steered = (interp.steer(model, prompts, anger, scale=by, **settings) for by in (0.0, 1.5))
for prompt, before, after in zip(prompts, plain, steered, strict=True):
    first, then = (text.partition(".")[0] for text in (before, after))
    print(f"{prompt.text}\n   unsteered: {first}.\n   steered:   {then}.\n")
