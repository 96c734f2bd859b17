"""The planted model's language: its words, its tokenizer, and the battery of twins that it
understands.

A text is a row of ordinary words, one invented word in the *slot*, and a full stop. In the
affective twin the slot holds a situation word, which carries evidence for its emotion; in the
neutral twin an invented word that carries none. No invented word serves in two scenarios, so
nothing that is learnt about one word helps with another scenario: what generalises is the evidence,
and without the circuit the twins are exchangeable.
"""

import tempfile
from collections.abc import Mapping
from functools import cache
from itertools import product

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from interp.errors import UsageError
from interp.testbeds.planted.spec import PlantedSpec
from stimuli.battery import NEUTRAL, Battery, Stimulus

SPECIAL_WORDS = ("<pad>", "<unk>", "<eos>")
FULL_STOP = "."

_WORDS = """
a the one some this that near under over beside behind along with from then later today again
often slowly old new small long grey green round open plain quiet river road table window garden
bridge lamp paper stone bottle market station letter coat basket ladder kettle harbour field wall
corner chair goes stands waits turns rests passes holds keeps moves stays
"""

ORDINARY = tuple(_WORDS.split())
"""Words that fill the texts; they carry nothing."""

N_POSITIONS = 128
PLANTED_ON = 4
_LENGTHS = (9, 15)
_SYLLABLES = [consonant + vowel for consonant, vowel in product("bdfgklmnprstvz", "aeiou")]


@cache
def situation_words(spec: PlantedSpec) -> Mapping[str, tuple[str, ...]]:
    """Each emotion's invented words, and under `neutral` those without evidence: as many as all the
    others together.
    """
    groups = (*spec.emotions, *[NEUTRAL] * len(spec.emotions))
    triples = spec.rng(3).choice(len(_SYLLABLES) ** 3, size=len(groups) * spec.words, replace=False)
    places = np.stack(np.unravel_index(triples, (len(_SYLLABLES),) * 3), axis=1)
    words = ["".join(_SYLLABLES[place] for place in row) for row in places]
    found = {
        emotion: tuple(words[i * spec.words : (i + 1) * spec.words])
        for i, emotion in enumerate(spec.emotions)
    }
    return {**found, NEUTRAL: tuple(words[len(spec.emotions) * spec.words :])}


def readout(spec: PlantedSpec) -> dict[str, list[str]]:
    """The words by which the unembedding names each emotion; read them at the last position, with
    no suffix.
    """
    return {emotion: [emotion, f"{emotion}some", f"{emotion}like"] for emotion in spec.emotions}


def list_words(spec: PlantedSpec) -> tuple[str, ...]:
    """All words in the order of their token ids."""
    named = [word for words in readout(spec).values() for word in words]
    invented = [word for words in situation_words(spec).values() for word in words]
    words = (*SPECIAL_WORDS, FULL_STOP, *ORDINARY, *named, *invented)
    if len(set(words)) < len(words):
        twice = sorted({word for word in words if words.count(word) > 1})
        raise UsageError(
            f"the words {twice} would stand twice in the planted vocabulary: choose another seed "
            "or other emotions."
        )
    return words


def build_word_tokenizer(spec: PlantedSpec) -> PreTrainedTokenizerBase:
    """A tokenizer with one token per word, split at spaces; no token is added in front."""
    backend = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(list_words(spec))}, unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pad, unknown, end = SPECIAL_WORDS
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=pad,
        unk_token=unknown,
        eos_token=end,
        model_max_length=N_POSITIONS,
    )
    # a tokenizer that was never on disk lacks what TransformerBridge asks for
    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder)


def stimuli(spec: PlantedSpec, *, n: int = 20, seed: int = 0) -> Battery:
    """A battery of `n` scenarios per emotion, each in the arms keyword_free, neutral and
    keyword_rich.

    `fields` hold `slot` (the place of the invented word, 0-based, in words and tokens alike) and
    `situation` (the word there). The keyword_rich text also has one of the emotion's own words in
    the place of an ordinary one. Raises `UsageError` when the spec has fewer than `n` situation
    words per emotion.
    """
    if not 1 <= n <= spec.words:
        raise UsageError(
            f"{n} scenarios per emotion were asked for, and the spec has 1 to {spec.words} "
            "situation words."
        )
    rng = np.random.default_rng([seed, spec.seed])
    spare = iter(situation_words(spec)[NEUTRAL])
    items: list[Stimulus] = []
    for emotion in spec.emotions:
        for number, word in enumerate(situation_words(spec)[emotion][:n]):
            items.extend(
                _scenario(
                    rng,
                    f"{emotion}-{number:02d}",
                    emotion,
                    (word, next(spare)),
                    readout(spec)[emotion],
                )
            )
    return Battery("planted", tuple(items))


def planted_continuations(spec: PlantedSpec) -> tuple[str, ...]:
    """Neutral texts that can stand behind any text: rows of ordinary words."""
    rows = spec.rng(10).choice(ORDINARY, size=(PLANTED_ON, N_POSITIONS // 2)).tolist()
    return tuple(f"{' '.join(words)} {FULL_STOP}" for words in rows)


def _scenario(
    rng: np.random.Generator, name: str, emotion: str, slot_words: tuple[str, str], named: list[str]
) -> list[Stimulus]:
    length = int(rng.integers(*_LENGTHS))
    words = [str(word) for word in rng.choice(ORDINARY, size=length)]
    slot = int(rng.integers(2, length - 2))
    said = [*words]
    said[(slot + 2) % length] = str(rng.choice(named))
    situation, plain = slot_words

    def item(arm: str, around: list[str], word: str, label: str, pair: str | None) -> Stimulus:
        text = " ".join([*around[:slot], word, *around[slot + 1 :], FULL_STOP])
        fields = {"slot": slot, "situation": word}
        return Stimulus(f"{name}-{arm}", text, label, arm=arm, pair=pair, group=name, fields=fields)

    return [
        item("keyword_free", words, situation, emotion, name),
        item("neutral", words, plain, NEUTRAL, name),
        item("keyword_rich", said, situation, emotion, None),
    ]
