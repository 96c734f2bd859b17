"""The stage `geometry`: how the emotions lie to each other, beside theories, ratings and the words.

All is of paired differences (a text less its neutral twin), so that the scene is out of them.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from interp.analysis.geometry_rows import (
    Space,
    axes_rows,
    cosine_rows,
    rsa_rows,
    silhouette_rows,
    site_map_rows,
)
from interp.analysis.products import alikeness, gram_of, products, whitened
from interp.analysis.questions import lexicons
from interp.analysis.references import rated_of, references_for
from interp.analysis.text_space import text_differences, text_features
from interp.errors import StatisticsError
from interp.progress import track
from interp.results import TableRows
from interp.sites import Site
from interp.study.folder import Study
from interp.study.representation import stream_sites
from stimuli.battery import EVOKING, Pairs, Stimulus, in_content_order

SUBLAYERS = ("attn_out", "mlp_out")
"""What attention and MLP add to the stream: the map of sites is theirs where both were captured,
else the stream's.
"""

MOST_LAID = 1000
"""Pairs that are compared; the products of more would cost more than the study."""

MOST_FLOATS = 64_000_000
"""Numbers that the sites of a map may hold together."""

DEPTHS = (1 / 3, 1 / 2, 2 / 3)
"""Depths at which the emotions are mapped; of the last one the report's findings speak."""


def geometry(study: Study) -> TableRows:
    """The emotions' distances, axes and cosines at the stream, beside the same of the words.

    Raises `StatisticsError` where the words or the model do not tell texts of one emotion apart.
    """
    pairs = _compared(study.pairs)
    _tell_unrated(pairs.emotions)
    stream = stream_sites(study)
    with threadpool_limits(1):  # small matrices: a second thread waits more than it works
        places = _spaces(study, pairs, stream)
        words = list(_word_spaces(pairs))
        references = references_for(pairs.emotions)
        seed = study.settings.seed
        rows = list(rsa_rows(list(places.values()), words, references, seed=seed))
        for site in mapped(list(places), study.model.dims.n_layers):
            rows += cosine_rows(places[site])
            rows += _axes(places[site], seed=seed)
        rows += _site_map(study, pairs)
        rows += _silhouettes(study, stream)
    return rows


def mapped(stream: Sequence[Site], n_layers: int) -> list[Site]:
    """The sites of the stream nearest to the `DEPTHS`, each once."""
    found = [
        min(stream, key=lambda site: abs((site.layer + 1) / n_layers - depth)) for depth in DEPTHS
    ]
    return list(dict.fromkeys(found))


def _compared(pairs: Pairs) -> Pairs:
    """At most `MOST_LAID` pairs, the emotions alike: the first of each, by content."""
    each = MOST_LAID // len(pairs.emotions)
    kept = [pair for emotion in pairs.emotions for pair in pairs.of(emotion)[:each]]
    if len(kept) < len(pairs):
        warnings.warn(
            f"{len(kept)} of {len(pairs)} pairs were compared: {each} of each emotion.",
            stacklevel=3,
        )
    return Pairs(in_content_order(kept))


def _tell_unrated(emotions: Sequence[str]) -> None:
    unrated = [one for one in emotions if one not in rated_of(emotions)]
    if unrated:
        names = ", ".join(map(repr, unrated[:8])) + (", ..." if len(unrated) > 8 else "")
        warnings.warn(
            f"no human ratings are known of {len(unrated)} emotions, which are left out where the "
            f"emotions are compared with the wheel and with ratings: {names}.",
            stacklevel=3,
        )


def _spaces(study: Study, pairs: Pairs, stream: Sequence[Site]) -> dict[Site, Space]:
    """The emotions at each site; one that tells no texts of one emotion apart (before the first
    attention, texts that end alike are the same) is left out with a warning. Raises
    `StatisticsError` where none is left.
    """
    found = {}
    for site in track(stream, "geometry", unit="site"):
        affective, neutral = study.twins(site, pairs)
        where = {"site": site.name, "layer": site.layer, "position": study.position}
        try:
            found[site] = _of_differences(affective - neutral, pairs, where)
        except StatisticsError as error:
            warnings.warn(f"{site} was left out: {error}", stacklevel=3)
    if not found:
        raise StatisticsError("no site tells texts of one emotion apart: there is no geometry.")
    return found


def _axes(space: Space, *, seed: int) -> TableRows:
    """The axes of a site; none where the emotions have no spread that other scenarios repeat, which
    their reliability tells (a caution of the report names them).
    """
    try:
        return list(axes_rows(space, seed=seed))
    except StatisticsError:
        return []


def _word_spaces(pairs: Pairs) -> Iterator[Space]:
    """The words, as each text baseline sees them. Where texts of one emotion do not differ in its
    eyes there is no noise to measure in: its distances are taken as they are.
    """
    texts = ([item.text for item in side] for side in (pairs.affective, pairs.neutral))
    where = {"site": "", "layer": np.nan, "position": ""}
    for name, apart in text_differences(*texts, lexicons=lexicons()):
        try:
            yield _of_differences(apart, pairs, where, name)
        except StatisticsError:
            labels = [item.emotion for item in pairs.affective]
            yield Space(products(gram_of(apart), labels, pairs.groups), where, name)


def _of_differences(
    apart: Float[np.ndarray, "pair feature"],
    pairs: Pairs,
    where: dict[str, Any],
    control: str = "",
) -> Space:
    labels = [item.emotion for item in pairs.affective]
    gram = whitened(gram_of(apart), labels, pairs.groups, width=apart.shape[1])
    return Space(products(gram, labels, pairs.groups), where, control)


def _site_map(study: Study, pairs: Pairs) -> TableRows:
    """The map of the sublayers' sites, or of the stream's where one of them was not captured."""
    known = {site.name for site in study.sites}
    names = SUBLAYERS if known.issuperset(SUBLAYERS) else (stream_sites(study)[0].name,)
    sites = sorted((s for s in study.sites if s.name in names), key=lambda s: (s.layer, s.name))
    sites = _few(sites, len(pairs) * study.model.dims.d_model)
    apart = [np.subtract(*study.twins(site, pairs)) for site in sites]
    labels = [item.emotion for item in pairs.affective]
    alike = alikeness(apart, labels, pairs.groups)
    return list(site_map_rows(sites, alike, position=study.position, n=len(pairs)))


def _few(sites: list[Site], floats: int) -> list[Site]:
    """The sites of evenly spaced layers, as many as `MOST_FLOATS` hold."""
    layers = sorted({site.layer for site in sites})
    most = max(2, MOST_FLOATS * len(layers) // (floats * len(sites)))
    if len(layers) <= most:
        return sites
    kept = {layers[at] for at in np.linspace(0, len(layers) - 1, most).round().astype(int)}
    return [site for site in sites if site.layer in kept]


def _silhouettes(study: Study, stream: Sequence[Site]) -> TableRows:
    """Silhouettes of the affective texts of all arms, at every site of the stream and in the words
    of each text baseline.
    """
    items = _affective(study)
    kinds = {
        "emotion": [item.emotion for item in items],
        "arm": [item.arm for item in items],
        "scenario": [item.group for item in items],
    }
    at = np.array([study.row_of[item.id] for item in items])
    rows: TableRows = []
    for site in stream:
        where = {"site": site.name, "layer": site.layer, "position": study.position}
        x = study.values(site, study.position)[at]
        rows += silhouette_rows(x, kinds, kinds["scenario"], where=where)
    texts = [item.text for item in items]
    nowhere = {"site": "", "layer": np.nan, "position": ""}
    for name, x in text_features(texts, lexicons=lexicons()):
        found = silhouette_rows(x, kinds, kinds["scenario"], where=nowhere, control=name)
        rows += list(found)
    return rows


def _affective(study: Study) -> list[Stimulus]:
    """The texts that evoke an emotion, of all arms, of the emotions that the study works on; the
    first `MOST_LAID` of them, by content.
    """
    known = [
        item
        for item in study.captured
        if item.arm in EVOKING and item.id in study.row_of and item.emotion in study.emotions
    ]
    return in_content_order(known)[:MOST_LAID]
