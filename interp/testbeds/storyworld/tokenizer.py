"""The world's tokenizer: a word, with the space before it, is a token; so are a full stop, a comma
and "'s".

Because the space belongs to the word, decoding gives back the text to the letter.
"""

import json
import re
from functools import cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from interp.files import write_atomic
from interp.testbeds.storyworld.wordings import wording_words
from interp.testbeds.storyworld.world import data, scenery_words

SPECIAL_TOKENS = {
    "pad_token": "<pad>",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "unk_token": "<unk>",
}
"""The special tokens, in the order of their ids: 0, 1, 2, 3."""

CONTEXT = 160
"""The longest sequence, in tokens, that the model is made for; a story takes 40 to 110."""

_SPACE = "\u2581"
_BARE_PIECE = re.compile(r"'s|\w+|[^\w\s]")
_PIECE = f"'s|{_SPACE}?\\w+|{_SPACE}?[^\\w\\s{_SPACE}]"


@cache
def vocabulary() -> dict[str, int]:
    """Each token of the world and its id: the special tokens, the marks, and the words in order of
    the alphabet.
    """
    found: set[str] = set()
    for text in _texts():
        plain = [word for word in re.findall(r"[A-Za-z]+", text) if word != "s"]
        found.update(plain)
        found.update(word.capitalize() for word in plain[:1])
    tokens = [*SPECIAL_TOKENS.values(), "'s", ".", ",", *(_SPACE + word for word in sorted(found))]
    return {token: index for index, token in enumerate(tokens)}


def build_tokenizer() -> Tokenizer:
    """The tokenizer, which puts `<bos>` before each text."""
    tokenizer = Tokenizer(models.WordLevel(vocabulary(), unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="first", split=False),
            pre_tokenizers.Split(Regex(_PIECE), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme="first")
    bos = SPECIAL_TOKENS["bos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, vocabulary()[bos])]
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS.values()))
    return tokenizer


def encode_story(text: str) -> list[int]:
    """Token ids of a text of the world, without `<bos>`: what the tokenizer gives, ten times as
    fast on short texts.
    """
    known = _bare_vocabulary()
    return [known[piece] for piece in _BARE_PIECE.findall(text)]


@cache
def _bare_vocabulary() -> dict[str, int]:
    return {token.removeprefix(_SPACE): index for token, index in vocabulary().items()}


def save_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, from which `AutoTokenizer` loads."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "padding_side": "right",
        **SPECIAL_TOKENS,
    }
    write_atomic(folder / "tokenizer.json", build_tokenizer().to_str(pretty=True).encode("utf-8"))
    write_atomic(
        folder / "tokenizer_config.json", (json.dumps(config, indent=2) + "\n").encode("utf-8")
    )


def _texts() -> list[str]:
    """Every sentence template, marker, phrase and word of the world; the first word of each also
    begins sentences.
    """
    scenery, markers, reactions = data("scenery"), data("markers"), data("reactions")
    lists = [
        "settings",
        "strangers",
        "second_strangers",
        "actors",
        "doings",
        "distractors",
        "feeling_named",
        "instructions",
    ]
    texts = [line for name in lists for line in scenery[name]]
    texts += [scenery["instruction_neutral"], scenery["cue"], "a", "an"]
    texts += [marker for name, rows in markers.items() if name != "modals" for marker in rows]
    for row in reactions.values():
        texts += [
            text.replace("_", " ").replace("|", " ") for text in (*row["says"], *row["feelings"])
        ]
    texts += [
        "felt",
        "and",
        *(part for pair in markers["modals"] for part in pair),
        *wording_words(),
    ]
    lower = [
        word
        for name in ("places", "adjectives", "times", "roles", "trades", "names")
        for word in scenery_words(name)
    ]
    return (
        [re.sub(r"\{[^}]*\}", " ", text) for text in texts]
        + [f"the {word}" for word in lower]
        + _event_words()
    )


def _event_words() -> list[str]:
    """The words of all event frames, none of which begins a sentence."""
    found: list[str] = []
    for family in data("families"):
        found += family["verbs"] + family["objects"]
        found += [verb for verbs in family["ordinary"].values() for verb in verbs]
        found += [
            cause for causes in family["causes"].values() if causes != "roles" for cause in causes
        ]
    return [f"the {word}" for word in found]
