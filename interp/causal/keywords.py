"""Keyword sensitivity of heads: which kind of token a text's last token attends to, by head.

A head may read an emotion off the words that name it, or off the turn of the story that evokes it.
Every token of a text is of one class (`TOKEN_CLASSES`), and a head's attention from the text's last
token is summed over each class. Beside it stands what attention spread evenly over the same tokens
would give (`uniform`), since some classes have many tokens; and the same head in the neutral twin
(`twin`). After *Whether, Not Which* (affect-reception), which tells the class of the one token that
is attended to most (`most_attended`).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from interp.causal.alignment import align
from interp.causal.forward import Encoded, batches, run_forward
from interp.causal.paired import beside_rows, with_corrected_p
from interp.causal.pooled import ALL
from interp.errors import StatisticsError, UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.models.texts.conversations import prompt_of, text_of
from interp.models.texts.ends import content_positions, last_content
from interp.progress import track
from interp.results import TableRow, TableRows
from interp.sites import Site, site_columns
from interp.stats import mean_interval
from stimuli.battery import Pair, Stimulus

KEYWORDS = "attention_by_class"

TOKEN_CLASSES = ("edit", "emotion", "content", "function", "bos")
"""What a token is of: the words that differ from the twin's; of the others, words that name an
emotion, other content words, function words and punctuation; and what stands before the text. Each
token is of the first that fits.
"""

ATTENDED_AT_ONCE = 1024
"""Tokens of one pass: the pattern of every head is kept."""

_SUMS_TO_ONE = 0.02
_WORD = re.compile(r"\w+(?:['’]\w+)*")


class KnownWords(NamedTuple):
    """Words, in small letters, that name an emotion, and that belong to the closed class."""

    emotion: Collection[str]
    function: Collection[str]


class _Told(NamedTuple):
    """A text up to its last token, with the class of each token."""

    row: Encoded
    classes: Int[np.ndarray, " token"]


class Attention(NamedTuple):
    """From each text's last token: the `share` of attention that each class gets from each head
    (heads of all layers in their order), whether the token attended to most is of it (`most`), and
    the share of the visible tokens that are of it (`uniform`).
    """

    share: Float[np.ndarray, "text head class"]
    most: Float[np.ndarray, "text head class"]
    uniform: Float[np.ndarray, "text head class"]


def keyword_rows(
    model: LanguageModel,
    pairs: Sequence[Pair],
    words: KnownWords,
    *,
    layers: Sequence[int] | None = None,
) -> TableRows:
    """Rows of each head and class (column `target`), all emotions together; intervals over
    scenarios.

    Metrics: `attention_share`, with controls `uniform` and `twin`;
    `attention_share_above_uniform` and `attention_share_above_twin`, the paired differences, with
    `p` that they are not above zero (signs of scenarios flipped) and `p_corrected` over the heads
    of that class; `most_attended`. Raises
    `StatisticsError` for no pairs, `UsageError` for a layer that the model lacks, and, naming the
    site, where it does not show its attention pattern.
    """
    if not pairs:
        raise StatisticsError("attention is read in pairs of twins, and none was given.")
    sites = _sites(model, layers)
    told = [_classed(model, pair, words) for pair in pairs]
    groups = np.array([pair.affective.group for pair in pairs])
    affective, neutral = (
        attention_of(model, [one[side] for one in told], sites) for side in (0, 1)
    )
    return with_corrected_p(_rows(affective, neutral, sites, groups), by=("metric", "target"))


def _sites(model: LanguageModel, layers: Sequence[int] | None) -> list[Site]:
    n_layers = model.dims.n_layers
    chosen = range(n_layers) if layers is None else layers
    odd = [layer for layer in chosen if not 0 <= layer < n_layers]
    if odd or not chosen:
        raise UsageError(
            f"layers {odd or list(chosen)}: {model.name} has layers 0..{n_layers - 1}; name at "
            "least one."
        )
    sites = [Site("pattern", layer) for layer in chosen]
    require(model, "capture", sites)
    return sites


def _classed(model: LanguageModel, pair: Pair, words: KnownWords) -> tuple[_Told, _Told]:
    """Both texts of a pair, each token with its class."""
    (affective, own), (neutral, twins) = (_encoded(model, text, words) for text in pair)
    edits = align(neutral.tokens, affective.tokens)
    for classes, (start, end) in ((own, edits.target_edit), (twins, edits.source_edit)):
        classes[start:end] = TOKEN_CLASSES.index("edit")
    return _Told(affective, own), _Told(neutral, twins)


def _encoded(
    model: LanguageModel, text: Stimulus, words: KnownWords
) -> tuple[Encoded, Int[np.ndarray, " token"]]:
    """A text's tokens up to its last one, and their classes without an edit."""
    prompt = prompt_of(text.text, text.fields, name=text.id)
    (row,) = model.encode([prompt], ids=[text.id])
    said = text_of(prompt)
    end = last_content(said, row.spans, name=f"stimulus {text.id!r}")
    first = int(content_positions(said, row.spans)[0])
    found = list(_WORD.finditer(said))
    classes = [
        TOKEN_CLASSES.index("bos" if at < first else _class_of(span, found, words))
        for at, span in enumerate(row.spans[: end + 1])
    ]
    return Encoded(tuple(row.ids[: end + 1]), end, first), np.array(classes)


def _class_of(span: tuple[int, int], found: Sequence[re.Match[str]], words: KnownWords) -> str:
    """The class of the word that a token belongs to; punctuation and blanks are of no topic."""
    start, end = span
    word = next((m[0].lower() for m in found if m.start() < end and start < m.end()), "")
    if word in words.emotion:
        return "emotion"
    return "function" if not word or word in words.function else "content"


def attention_of(model: LanguageModel, told: Sequence[_Told], sites: Sequence[Site]) -> Attention:
    """What each head attends to from each text's last token. Raises `UsageError` where a head's
    attention does not sum to one.
    """
    n_heads = model.dims.n_heads * len(sites)
    parts = [np.zeros((len(told), n_heads, len(TOKEN_CLASSES))) for _ in Attention._fields]
    rows = [one.row for one in told]
    for chunk in track(batches(rows, budget=ATTENDED_AT_ONCE), "attention", unit="batch"):
        mine = [told[i] for i in chunk]
        seen = run_forward(model, [one.row for one in mine], read=sites).sites
        for row, (at, one) in enumerate(zip(chunk.tolist(), mine, strict=True)):
            end = one.row.end
            pattern = torch.cat(
                [seen[site][row, :, end, : end + 1].float().cpu() for site in sites]
            )
            heads = pattern.double().numpy()
            _check_sums(model, heads, sites)
            for part, values in zip(parts, _summed(heads, one.classes, len(sites)), strict=True):
                part[at] = values
    return Attention(*parts)


def _summed(
    heads: Float[np.ndarray, "head key"], classes: Int[np.ndarray, " key"], n_layers: int
) -> Iterator[Float[np.ndarray, "head class"]]:
    """The share of each class, whether it has the token attended to most, and its share of the
    tokens that any head of the layer sees (a sliding window hides some).
    """
    member = np.eye(len(TOKEN_CLASSES))[classes]
    yield heads @ member
    yield member[heads.argmax(axis=1)]
    layered = heads.reshape(n_layers, -1, heads.shape[1])
    seen = np.repeat((layered > 0).any(axis=1), layered.shape[1], axis=0).astype(float)
    yield seen @ member / seen.sum(axis=1, keepdims=True)


def _check_sums(
    model: LanguageModel, heads: Float[np.ndarray, "head key"], sites: Sequence[Site]
) -> None:
    odd = np.abs(heads.sum(axis=1) - 1) > _SUMS_TO_ONE
    if odd.any():
        site = sites[int(odd.argmax()) // model.dims.n_heads]
        raise UsageError(
            f"{model.name}: the attention at {site} does not sum to one: it is not what the heads "
            "attend to. Read z instead."
        )


def _rows(
    affective: Attention, neutral: Attention, sites: Sequence[Site], groups: np.ndarray
) -> Iterator[TableRow]:
    per_layer = affective.share.shape[1] // len(sites)
    common = {"method": KEYWORDS, "emotion": ALL}
    for head in range(affective.share.shape[1]):
        where = Site("pattern", sites[head // per_layer].layer, head % per_layer)
        for place, target in enumerate(TOKEN_CLASSES):
            here = {**site_columns(where), **common, "target": target}
            own, most, even = (part[:, head, place] for part in affective)
            twin = neutral.share[:, head, place]
            most_row = mean_interval(most, groups)._asdict()
            yield {**here, "metric": "most_attended", "control": "", **most_row}
            here["metric"] = "attention_share"
            yield from beside_rows(own, {"uniform": even, "twin": twin}, groups, here)


def keywords_of(
    emotion: Mapping[str, Sequence[str]], function: Mapping[str, Sequence[str]]
) -> KnownWords:
    """Words by emotion, and those of the closed class by kind, as `stimuli.lexicon` gives them."""
    sets = (
        frozenset(word.lower() for listed in known.values() for word in listed)
        for known in (emotion, function)
    )
    return KnownWords(*sets)
