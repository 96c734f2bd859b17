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
# # Does what stands before a text stay with the model?
#
# **Redoes** the persistence curve of *Decoding Emotion in the Deep*, the shifts by layer, the
# cosines and the scores by framing of *Under Pressure*, and the curve of score against stress of
# StressPrompt. **Adds** shuffled labels and the words alone beside what persists, a steered emotion
# that is let go, framings that say nothing, and a test for the inverted U.

# %%
from pathlib import Path

from IPython.display import Image

import interp
from interp.evaluation.forced_choice import forced_choice
from interp.evaluation.framed_tasks import FramedTask
from interp.evaluation.judges import judge_for, oracle
from interp.evaluation.readouts import readout_for
from interp.evaluation.release import Release, release
from interp.reporting.figures import as_bytes
from interp.reporting.framings import framing_cosines, framing_norms, framing_scores, stress_doses
from interp.reporting.released import release_curve, told_of_release
from interp.results import read_tables, table
from interp.study.framing_trial import framing_rows, stress_rows

MODEL = "storyworld"
STIMULI = "storyworld"
FRAMED = "planted"  # the testbed whose framings have a known answer
RUN = Path("runs") / f"notebooks-{Path(MODEL).name}"  # shared by the notebooks; it resumes

# %% [markdown]
# ## Is it still read when the model reads on?
#
# A text and its twin are followed by the same neutral words. A probe of their last tokens is asked
# at each later token. Read the solid line against the dotted ones: a probe that was fitted at that
# token (the state may be there in another form), and the words of the text alone.

# %%
interp.run(MODEL, STIMULI, RUN, preset="quick", stages=["persistence", "directions"])

persisting = read_tables(RUN, ["persistence"])["persistence"]
Image(as_bytes(interp.draw("persistence_curve", persisting), "png"))

# %%
halves = persisting[persisting.metric == "half_life"]
halves[["task", "value", "half_low", "half_high", "n"]].round(2)

# %% [markdown]
# ## A steered emotion, let go
#
# Two tokens are written under the direction, then the model writes on alone. Read above the layer
# where it was added: less the same prompt that was never steered, beside a random direction of the
# same length, and beside the very text that was written, read without steering: what its words
# carry.

# %%
model = interp.load(MODEL)
pairs = interp.battery(STIMULI).pairs()
files = sorted((RUN / "directions").glob("*.safetensors"))
saved = [one for one in map(interp.Direction.load, files) if one.labels[0] in pairs.emotions[:2]]
layers = sorted({one.site.layer for one in saved})
added, readers = (
    {one.labels[0]: one for one in saved if one.site.layer == layer} for layer in layers[-2:]
)
own = judge_for(model)
if own is None:
    judge = ("forced_choice", forced_choice(model, readout_for(model, sorted(added))))
else:
    judge = (oracle.__name__, own)
prompts = pairs.neutral[:: len(pairs) // 8][:8]
plan = Release(steered=2, after=8, scale=3.0, unit="length")
found = release(model, prompts, added, readers, judge, plan)
released = table(found.rows).assign(model=MODEL, battery=STIMULI)
Image(as_bytes(release_curve(released), "png"))

# %%
print(*told_of_release(released), sep="\n")

# %% [markdown]
# ## Framings
#
# `interp framings --model smollm2` has sentences of pressure, threat and encouragement, and easy
# tasks in English. No testbed knows them. So here a framing is *another text* in front of the task,
# and the task is to tell joy from sadness. In `planted` the answer is known: its heads look evenly
# at every invented word, so that one text of fear before the task must add half of a natural length
# along fear, and nothing along any other direction. `neutral` is made of texts without evidence,
# as calm is: it must do nothing. Behind a framing of joy each sad task is a tie of two words, which
# the stronger one wins.

# %%
planted = interp.load(FRAMED)
fitted, spoken = interp.battery(FRAMED).pairs().split()
texts = interp.Battery(FRAMED, tuple(text for pair in fitted for text in pair))
store = interp.record(planted, texts)
directions = {
    name: interp.direction(store, texts, emotion=name, site=store.sites[-1])
    for name in ("anger", "fear", "joy")
}
words = readout_for(planted, spoken.emotions).words
twins = zip(spoken.of("joy").affective[:3], spoken.of("sadness").affective[:3], strict=True)
tasks = [
    FramedTask(one.text, words[one.emotion][0], words[other.emotion][0], at)
    for at, pair in enumerate(twins)
    for one, other in (pair, pair[::-1])
]
before = {name: spoken.of(name).affective[3:] for name in ("fear", "joy", "anger")}
said = {"calm": spoken.of("trust").neutral, **before, "neutral": spoken.of("disgust").neutral}
known = {name: [f"{text.text} {{task}}" for text in those[:7]] for name, those in said.items()}
framed = table(framing_rows(planted, tasks, known, directions), n_layers=planted.dims.n_layers)
framed = framed.assign(model=FRAMED, battery=FRAMED)
Image(as_bytes(framing_norms(framed), "png"))

# %%
shift = framed[framed.metric == "shift"]
shift[["framing", "target", "value", "ci_low", "ci_high", "n"]].round(3)

# %% [markdown]
# These emotions have nothing in common here: their cosines must be 0, and `neutral` has no shift of
# which a cosine could be taken (grey). Published matrices are high everywhere, since the framings
# share what sets them apart from calm.

# %%
Image(as_bytes(framing_cosines(framed), "png"))

# %%
Image(as_bytes(framing_scores(framed), "png"))

# %% [markdown]
# ## Doses
#
# Four texts stand before the task, and one to all four of them are of fear: the dose. All doses
# are equally long, so that it is not length that works. What is read must rise by a fifth of a
# natural length per dose. The score must not move, and an inverted U must not be found.

# %%
fear = spoken.of("fear")
statements = []
for dose in range(1, 5):
    for first in range(5):
        four = [fear[(first + at) % len(fear)] for at in range(4)]
        said = [pair.affective for pair in four[:dose]] + [pair.neutral for pair in four[dose:]]
        statements.append((float(dose), " ".join([*(text.text for text in said), "{task}"])))
dosed = table(stress_rows(planted, tasks, statements, directions, draws=199, seed=0))
dosed = dosed.assign(model=FRAMED, battery=FRAMED)
Image(as_bytes(stress_doses(dosed), "png"))

# %%
tested = dosed[dosed.metric.isin(["slope", "inverted_u"])]
tested[["metric", "target", "value", "ci_low", "ci_high", "n", "p"]].round(3)

# %% [markdown]
# ## What would change this conclusion
#
# - **A text baseline above the curve.** Then the words of the text tell as much at every token, and
#   a state that stays is not needed.
# - **Where it is read.** In `storyworld` the emotion is worked out at the cue ("Then Mara"). One
#   token later its probe is at chance, and what was steered is lost. A probe that is fitted there
#   still tells that there was an emotion (about .67), and not which. A later cue may bring it back:
#   what is not there at a token may be made again from the text.
# - **The same text, read unsteered, as high as the steered one.** Then the words carry it.
# - **Framings that say nothing as far from calm.** On SmolLM2 they are farther than any threat.
# - **Few wordings.** All intervals are over wordings. Tasks that cannot be done behind calm say
#   nothing of framings.
# - **A curve that bends.** Only a score that surely rises and then surely falls is an inverted U.
