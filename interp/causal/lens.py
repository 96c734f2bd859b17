"""The logit lens along an emotion: how early in the model its words stand above the others'.

The stream after each layer, at the token behind which the readout asks, goes straight through the
model's own final norm and unembedding (nostalgebraist 2020), with whatever stands between these and
the logits. The contrast of an emotion is the log-probability of its words less that of the others'
(`TokenReadout.contrast`). Beside it stands the neutral twin: of a frequent word a layer may think
in any text. The stream at the text's last token is also projected on the emotion's direction, which
was fitted at one layer and need not mean the same at another.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.bench import Bench
from interp.causal.contributions import is_unit
from interp.causal.forward import batches, encode_stimuli, run_forward
from interp.causal.paired import beside_rows, with_corrected_p
from interp.causal.pooled import ALL
from interp.causal.ranked_parts import warn_without_length
from interp.causal.readout import TokenReadout
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.progress import track
from interp.results import TableRow, TableRows
from interp.sites import STREAM, Site, site_columns
from stimuli.battery import Stimulus

LENS = "logit_lens"

_NUMBERS_AT_ONCE = 1 << 24
"""Logits that are held at once."""


def lens_rows(bench: Bench) -> TableRows:
    """Rows of the stream that the first block reads (site resid_pre), and after every layer, for
    each emotion of the bench and all together.

    Metrics: `lens_contrast` (nats; words of several tokens count by their first) and
    `lens_projection` (natural lengths), each of the affective text (control "") and of the neutral
    one (`twin`), and `..._above_twin`, the paired difference, with `p` that it is not above zero
    (signs of scenarios flipped) and `p_corrected` over layers on the rows of all emotions. A
    direction whose length is not surely above zero has no projection, with a warning. Raises
    `UsageError` for an emotion whose words begin as another's.
    """
    model = bench.model
    sites = [Site("resid_pre", 0), *(Site(STREAM, at) for at in range(model.dims.n_layers))]
    require(model, "capture", sites)
    warn_without_length(bench)
    bound = first_tokens(bench.readout.bind(model), set(bench.emotions))
    affective, neutral = (
        _read(bench, [pair[side] for pair in bench.pairs], bound, sites) for side in (0, 1)
    )
    return with_corrected_p(_rows(bench, affective, neutral, sites))


def first_tokens(bound: TokenReadout, emotions: set[str]) -> TokenReadout:
    """The readout of the first token of every word, those that two emotions share left out. Raises
    `UsageError` where one of `emotions` is left without, or has no words.
    """
    for emotion in sorted(emotions):
        bound.column(emotion)
    times = Counter(token for own in bound.tokens.values() for token in set(own))
    kept = {
        emotion: {str(token): (token,) for token in own if times[token] == 1}
        for emotion, own in bound.tokens.items()
    }
    lost = sorted(emotion for emotion in emotions if not kept[emotion])
    if lost:
        raise UsageError(
            f"the words for {', '.join(lost)} begin with the same tokens as another emotion's: the "
            "logit lens sees one token. Give other words."
        )
    return TokenReadout({emotion: words for emotion, words in kept.items() if words}, bound.suffix)


def final_logits(
    model: LanguageModel, streams: Float[Tensor, "row d_model"]
) -> Float[Tensor, "row d_vocab"]:
    """The logits that the model gives where its last block leaves `streams`: its final norm, its
    unembedding, and what it does to the logits behind that (a cap, a scale).
    """
    n_layers, rows = model.dims.n_layers, len(streams)
    ids, mask = torch.zeros(rows, 1, dtype=torch.long), torch.ones(rows, 1, dtype=torch.bool)
    begin = model.begin(n_layers, streams[:, None].to(model.device, model.dtype))
    return model.resume(ids, mask, begin=begin)[0]


class LensReading(NamedTuple):
    """At each site: the contrast (nats) of each text's own emotion, and its projection (natural
    lengths; NaN where its direction has none).
    """

    contrast: Float[np.ndarray, "site text"]
    projection: Float[np.ndarray, "site text"]


def _read(
    bench: Bench, texts: Sequence[Stimulus], bound: TokenReadout, sites: Sequence[Site]
) -> LensReading:
    """What the lens sees in one text of every pair, whose emotion is the pair's."""
    model, shape = bench.model, (len(sites), len(texts))
    rows = encode_stimuli(model, texts, bench.readout)
    scores = np.empty((*shape, len(bound.emotions)))
    along = np.empty(shape)
    vectors, lengths = _vectors(bench)
    for chunk in track(batches(rows), "logit lens", unit="batch"):
        mine = [rows[i] for i in chunk]
        places = torch.tensor([[row.end, len(row.tokens) - 1] for row in mine])
        seen = run_forward(model, mine, read=sites, at=places).sites
        for at, site in enumerate(sites):
            ends = seen[site][:, 0].double().cpu().numpy()
            along[at, chunk] = (ends * vectors[chunk]).sum(axis=1) / lengths[chunk]
            scores[at, chunk] = _scored(model, seen[site][:, 1], bound)
    contrast = [bound.contrast(each, bench.emotions) for each in scores]
    return LensReading(np.array(contrast), along)


def _scored(
    model: LanguageModel, streams: Float[Tensor, "row d_model"], bound: TokenReadout
) -> Float[np.ndarray, "row emotion"]:
    most = max(1, _NUMBERS_AT_ONCE // model.dims.d_vocab)
    parts = [bound.scores(final_logits(model, part)).cpu() for part in streams.split(most)]
    return torch.cat(parts).double().numpy()


def _vectors(
    bench: Bench,
) -> tuple[Float[np.ndarray, "pair d_model"], Float[np.ndarray, " pair"]]:
    """The direction of each pair's emotion, and its length."""
    own = [bench.directions[emotion] for emotion in bench.emotions]
    lengths = [one.length if is_unit(one) else np.nan for one in own]
    return np.array([one.vector for one in own], dtype=np.float64), np.array(lengths)


def _rows(
    bench: Bench, affective: LensReading, neutral: LensReading, sites: Sequence[Site]
) -> Iterator[TableRow]:
    labels = np.array(bench.emotions)
    groups = np.array([pair.affective.group for pair in bench.pairs])
    for at, site in enumerate(sites):
        for emotion in [ALL, *dict.fromkeys(labels.tolist())]:
            for name in LensReading._fields:
                own, twin = (getattr(one, name)[at] for one in (affective, neutral))
                mine = ((labels == emotion) | (emotion == ALL)) & np.isfinite(own)
                if mine.any():
                    here = {**site_columns(site), "method": LENS, "emotion": emotion}
                    here |= {"metric": f"lens_{name}"}
                    yield from beside_rows(own[mine], {"twin": twin[mine]}, groups[mine], here)
