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
# # Whether, not which?
#
# **Redoes** the claim of affect-reception (*Whether, Not Which*): that models tell *whether* a
# text is emotional early and nearly perfectly, and *which* emotion it is later and less well (its
# dissociation figure, eight classes against two). **Adds** the two things on which the claim
# rests: how well the words alone do it, and how alike the twins are.

# %%
from pathlib import Path

import pandas as pd
from IPython.display import Image

import interp
from interp.reporting.figures import as_bytes
from interp.reporting.twins import marked
from interp.results import read_tables

MODEL = "storyworld"
STIMULI = "storyworld"
RUN = Path("runs") / f"notebooks-{Path(MODEL).name}"  # shared by the notebooks; it resumes

# %% [markdown]
# ## The twins
#
# A twin is the same scene, made neutral by a small edit. If the edit shows which of the two is
# emotional by its words, "whether" is a question about words. So look at some first: what stands
# between stars is what the other twin lacks.

# %%
pairs = interp.battery(STIMULI).pairs()
for pair in pairs[:: len(pairs) // 3][:3]:
    for text, other in ((pair.affective, pair.neutral), (pair.neutral, pair.affective)):
        pieces = marked(text.text, other.text)[0]
        shown = "".join(f"*{piece.text}*" if piece.edited else piece.text for piece in pieces)
        print(f"{text.emotion:>12}: {shown}")
    print()

# %% [markdown]
# ## The words alone
#
# Classifiers that never see the model, on the same folds. The published claim has binary AUROC .98
# at layer 0. A baseline that comes as high makes such a number worthless.

# %%
interp.run(MODEL, STIMULI, RUN, preset="quick", stages=["probes"])

table = read_tables(RUN, ["probes"])["probes"]
Image(as_bytes(interp.draw("text_baselines", table, published=True), "png"))

# %% [markdown]
# ## The two questions by layer
#
# The stream at the text's own last token. Chance is 0.5 for both (a macro one-against-rest AUROC),
# so the two columns can be compared.

# %%
stream = table[
    (table.site == "resid_post")
    & (table.metric == "auroc")
    & (table.control == "")
    & (table.position == "last_content")
]
both = stream.pivot_table(index="layer", columns="task", values="value")
words = table[(table.metric == "auroc") & table.control.isin(["bag_of_words", "tfidf", "char"])]
best_words = words.groupby("task")["value"].max().rename("best words")
pd.concat([both, best_words.to_frame().T]).round(3)

# %%
low = stream.pivot_table(index="layer", columns="task", values="ci_low")
above = low.gt(best_words, axis="columns")
above.idxmax().where(above.any()).rename("first layer whose whole interval is above the words")

# %% [markdown]
# ## What would change this conclusion
#
# - **The order of the two columns.** "Whether before which" holds only where reception is above
#   its *own* words at a lower layer than categorisation is above its own. On `storyworld`, whose
#   twins are made of the same words, reception is at chance in the lowest layers.
# - **A baseline near the probe.** With `plutchik` or published batteries look at the grey bars
#   first: a binary score of .98 at layer 0, before any attention has run, is what a bag of words
#   would give.
# - **Texts that only sound emotional.** "Whether" may be vividness, or emotion words without an
#   emotion. `storyworld` has no such texts; `plutchik` and `plain` have, and `interp transfer`
#   draws by layer how many of them are called emotional (`alarm_trajectory`).
# - **Few scenarios.** Read `n` and the intervals. Two columns whose intervals overlap have no
#   order.
# - **Eight classes are harder to learn from the same texts.** A lower score for "which" may be a
#   matter of how many texts each class has; `interp run --preset full` uses all.
