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
# `storyworld` is a small language model trained on stories whose emotions follow from what happens to whom. Each story has
# a neutral twin made of the same words in another order, so a bag of words cannot tell them apart. Can the model?

# %%
from IPython.display import Image

import stimuli
from interp.analysis.directions import fit
from interp.analysis.sweep import prepare, sweep, text_predictions, text_rows
from interp.capture import capture
from interp.causal.steering import steer
from interp.models import load
from interp.reporting.figures import as_bytes, draw
from interp.results import RunRecord, table
from interp.study.representation import lexicons

# %%
model = load("storyworld")
battery = stimuli.load("storyworld")
pairs = battery.pairs()[::4]  # every fourth scenario: enough to see, quick to run
print(pairs[0].affective.text, pairs[0].neutral.text, sep="\n\n")

# %% [markdown]
# ## The layer curve
#
# One pass records the residual stream after every layer, at the last token. A linear probe then tells affective texts from
# their twins, on scenarios it was not trained on. Beside it stand the best text-only baselines and a control task.

# %%
twins = [item for pair in pairs for item in pair]
quarter = stimuli.Battery(battery.name, tuple(twins))
store = capture(model, quarter, sites=["resid_post"], positions=["last_content"])
task = prepare("reception", ["affective", "neutral"] * len(pairs), [item.group for item in twins])
n_layers = model.dims.n_layers


def place(site):
    return {"site": site.name, "layer": site.layer, "depth": (site.layer + 1) / n_layers, "position": "last_content"}


probed = sweep(((place(site), store.read(site).x) for site in store.sites), task)
texts = text_rows(text_predictions([item.text for item in twins], task, lexicons=lexicons()), task)
record = RunRecord(run="quickstart", model=model.name, battery=battery.name, seed=0)
rows = [*probed.rows, *({"site": "", "position": "", **row} for row in texts)]
Image(as_bytes(draw("probe_curves", table(record.row(**row) for row in rows)), "png"))

# %% [markdown]
# ## Steering
#
# The mean difference of the twins is a direction. Added at the last token of a *neutral* story, it should decide what the
# protagonist does next. `scale` 1 adds as much as the twins differ by; 0 is the unsteered text.

# %%
site = store.sites[-1]  # the last layer, where the emotion itself is told apart and not only that there is one
activations = store.read(site)
angry = [pair for pair in pairs if pair.affective.emotion == "anger"]
anger = fit(
    activations.select(pair.affective.id for pair in angry),
    activations.select(pair.neutral.id for pair in angry),
    site=site,
    labels=("anger", "neutral"),
    provenance=model.provenance,
)
prompts = [pair.neutral.text for pair in pairs if pair.affective.emotion == "trust"][:5]
plain, steered = (steer(model, prompts, anger, scale=scale, where="last", max_new_tokens=12) for scale in (0.0, 1.5))
for prompt, before, after in zip(prompts, plain, steered, strict=True):
    print(f"{prompt}\n   unsteered: {before.partition('.')[0]}.\n   steered:   {after.partition('.')[0]}.\n")
