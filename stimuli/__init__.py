"""Stimuli: batteries of emotional texts and their neutral twins, word lists and prompts, and
readers of others' formats.
"""

from stimuli.battery import Battery, Pair, Pairs, Stimulus
from stimuli.labels import relabel, scheme
from stimuli.reading import battery_path, load, names
from stimuli.rows import Limits
from stimuli.words import lexicon, lexicon_names, prompt_names, prompts, ratings
from stimuli.writing import save

__all__ = [
    "Battery", "Limits", "Pair", "Pairs", "Stimulus", "battery_path", "lexicon",
    "lexicon_names", "load", "names", "prompt_names", "prompts", "ratings", "relabel", "save",
    "scheme",
]  # fmt: skip
