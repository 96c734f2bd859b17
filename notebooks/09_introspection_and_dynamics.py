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
# # Does it know what it feels, and does it follow when that changes?
#
# **Redoes** the detection of injected concepts by layer and strength of *Emergent introspective
# awareness*, and the token-by-token curve of *Emotion Concepts* (2026). **Adds** to the first a
# question whose answer is no, another question, names that change from text to text, and a
# classifier that reads the words; to the second random directions, other emotions, and the same
# words in another order. The trajectories over turns of a conversation (explicit state dynamics)
# are not here: `interp dynamics` draws them.
#
# `planted` knows no questions: for a model that reads English say `interp introspect --model
# smollm2`. What it shows here is how easily a model *seems* to know. It has no knowledge of itself,
# by construction, and it is asked all the same.

# %%
import json
import tempfile
from pathlib import Path

from IPython.display import Image

import interp
import stimuli
from interp.causal.readout import Readout
from interp.evaluation.introspection import Questions, introspect
from interp.evaluation.readouts import readout_for
from interp.reporting.figures import as_bytes
from interp.reporting.introspection import introspection_controls, introspection_map, said_of
from interp.reporting.trajectories import said_of_trajectories
from interp.results import table
from interp.study.stories import run_stories
from interp.study.trajectories import run_trajectories

MODEL = "planted"
STIMULI = "planted"
EMOTIONS = ("anger", "fear", "joy", "sadness")

# %% [markdown]
# ## The questions
#
# Each of the five has its control beside it. For "yes" we take words that any emotion makes
# likelier: a model that says yes to everything once it is pushed.

# %%
model = interp.load(MODEL)
pairs = interp.battery(STIMULI).pairs()
chosen = interp.Pairs(pair for pair in pairs if pair.affective.emotion in EMOTIONS)
words = readout_for(model, EMOTIONS).words
names = {emotion: words[emotion][:2] for emotion in EMOTIONS}
yes = {"yes": [words[emotion][2] for emotion in EMOTIONS], "no": ["table"]}
letters = {"A": ["lamp"], "B": ["stone"], "C": ["coat"], "D": ["wall"]}
questions = Questions(
    notice=Readout(yes, " goes"),  # do you notice a feeling?
    denied=Readout(yes, " the road"),  # can a stone swim?
    name=Readout(names, " goes"),  # which feeling?
    unrelated=Readout(names, " the road"),  # something else
    relabelled=Readout(letters, " near"),  # which one, by a letter that changes from text to text?
)

# %% [markdown]
# ## A direction is put in
#
# Directions are of one half of the scenarios. Of the other half some choose the layer and the
# strength, by the letters; of equal ones the first is taken. The rest is told.

# %%
fitted, asked = chosen.split()
texts = interp.Battery(STIMULI, tuple(text for pair in fitted for text in pair))
store = interp.record(model, texts)
candidates = [
    {name: interp.direction(store, texts, emotion=name, site=site) for name in EMOTIONS}
    for site in store.sites[1:3]
]
rows = introspect(model, asked.split(), candidates, questions, scales=(1.0, 0.25), unit="length")
answers = table(rows, n_layers=model.dims.n_layers).assign(model=MODEL, battery=STIMULI)
Image(as_bytes(introspection_map(answers), "png"))

# %% [markdown]
# ## Beside the controls
#
# Two of the five look like introspection: it says yes whenever a direction was added, never
# without, and it gives the right name. Their controls say what it is: it says yes to the stone, and
# gives the name when something else is asked. Letters, to which no push leads, are at chance. The
# triangles of *nothing added* are the false alarms. The dotted line is a classifier that reads the
# words of the text which evokes the emotion: as high as "content in the input", the model would
# have told no more than its words.

# %%
Image(as_bytes(introspection_controls(answers), "png"))

# %%
print(*said_of(answers), sep="\n")

# %% [markdown]
# ## Stories whose emotion changes
#
# Two texts of different emotions behind each other: the story turns at the second one. Directions
# are made of one half of the scenarios, all stories are of the other.

# %%
folder = Path(tempfile.mkdtemp())
heard, unheard = pairs.split()
told = interp.Battery("told", tuple(text for pair in heard for text in pair))
path = stimuli.save(told, folder / "told.jsonl")
how = {"sites": ("resid_post",), "positions": ("mean_from(2)",)}
interp.run(MODEL, str(path), folder / "run", stages=["capture"], preset="quick", **how)
run_stories(folder / "run", out=folder / "directions")

turning = []
for first, then in zip(pairs.emotions, pairs.emotions[1:] + pairs.emotions[:1], strict=True):
    twins = zip(unheard.of(first).affective, unheard.of(then).affective, strict=True)
    for one, other in twins:
        turn = len(one.text) + 1
        place = [turn, turn + len(other.text.split()[0])]
        story = {"text": f"{one.text} {other.text}", "emotion": first, "becomes": then}
        turning.append({"id": f"{one.id}, {other.id}", **story, "turn": place})
lines = "\n".join(map(json.dumps, turning))
(folder / "turning.jsonl").write_text(f"{lines}\n", encoding="utf-8")
out = folder / "turning"
followed = run_trajectories(folder / "directions", str(folder / "turning.jsonl"), out=out)
Image(filename=str(out / "figures" / "turning_curves.png"))

# %% [markdown]
# ## Is it the emotion that turns?
#
# In `planted` each text has one invented word that carries its emotion, somewhere in it. So the
# emotion behind the turn comes some tokens after it, and what was before does not go: the heads
# look at both words. In another order both words stand anywhere, and nothing turns on average. But
# each story gets one other order: with `seed=0` the whisker of that control happens to lie just
# above 0, with four other seeds the control is .01, .01, -.03 and -.10.

# %%
Image(filename=str(out / "figures" / "turning_controls.png"))

# %%
print(*said_of_trajectories(followed["trajectories"]), sep="\n")

# %% [markdown]
# ## What would change this conclusion
#
# - **Letters above chance.** No push towards a word explains them. That would be knowledge of what
#   was added, and it is the only row here that would.
# - **A question whose answer is no, left alone.** Then the rise of "yes" is not a push towards yes.
# - **False alarms.** A model that notices a feeling with nothing added has noticed nothing.
# - **Layer and strength.** They were chosen among few, by the letters. With a strength that breaks
#   the text every answer is noise: look at the map.
# - **A story in another order that turns as much.** Then the words do it, wherever they stand.
# - **The words at the turn.** They change there, too. A shift says that the stream follows the
#   story, and not that anything beyond the words is followed.
