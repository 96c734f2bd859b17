"""Features of a sparse autoencoder on a finished run: from files to tables, figure, sentences."""

import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.analysis.autoencoder_files import read_autoencoder
from interp.analysis.autoencoders import SparseAutoencoder, explained_by
from interp.analysis.design import Design
from interp.analysis.questions import lexicons, reception
from interp.analysis.sae_features import (
    ChosenFeatures,
    Halved,
    activations_of,
    selectivity_rows,
)
from interp.errors import StatisticsError, UsageError
from interp.files import check_new
from interp.results import TableRows
from interp.sites import LAST, RESIDUAL_WIDE, Site
from interp.study.conditions import FEWEST, scenarios_of
from interp.study.finished import OpenedRun, open_run, record_beside
from interp.study.reading.tokens import EXCERPT
from interp.study.trials import fill_folder, heard_once
from interp.study.twins import ordered_pairs
from stimuli.battery import Pairs, Stimulus

FEATURES, FEATURE_TEXTS = "sae_features", "sae_feature_texts"
"""The tables: selectivity, and the texts in which the best features are most active."""

TOLD_TEXTS = 5
"""Texts of each feature that are told."""

OF_TOKENS = ("last", "last_content")
"""Position rules of a single token: an autoencoder was trained on tokens, not on their mean."""


def run_features(
    run: Path,
    sae: Path,
    *,
    out: Path,
    site: str | None = None,
    position: str = LAST,
    activation: str | None = None,
    k: int | None = None,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Rank the features of the autoencoder `sae` by their selectivity in the run's activations, and
    fill the folder `out`; its tables.

    The site is the one that the autoencoder says it was trained on, unless one is named. Raises
    `ArtefactError` where `out` holds something, and as `open_run` and `read_autoencoder`;
    `UsageError` for a site or position that was not captured, a pooled position, and another width;
    `StatisticsError` where no emotion has twins of enough scenarios.
    """
    check_new(out)
    encoder = read_autoencoder(sae, activation=activation, k=k)
    opened = open_run(run)
    at = _site(encoder, site)
    _check_position(position)
    pairs = _pairs(opened)
    start = time.monotonic()
    with heard_once() as heard:
        rows, texts = _rows(opened, encoder, at, position, pairs, seed=seed)
    config = {
        "sae": str(sae), "site": str(at), "position": position, "activation": encoder.activation,
        "k": encoder.k, "d_sae": encoder.d_sae,
    }  # fmt: skip
    record = record_beside(opened, config, seed=seed, heard=heard)
    tables = {FEATURES: rows, FEATURE_TEXTS: texts}
    return fill_folder(out, record, tables, n_layers=opened.n_layers, start=start)


def _site(encoder: SparseAutoencoder, named: str | None) -> Site:
    text = named or encoder.hook_name
    if not text:
        raise UsageError(
            f"{encoder.name} does not say its site (hook_name): name it, such as --site "
            "blocks.5.hook_resid_post."
        )
    at = Site.parse(text)
    if at.name not in RESIDUAL_WIDE:
        raise UsageError(f"{at} is not in the stream: name one of {', '.join(RESIDUAL_WIDE)}.")
    return at


def _check_position(position: str) -> None:
    if position not in OF_TOKENS:
        raise UsageError(
            f"position {position!r}: an autoencoder reads single tokens, so that a mean of them is "
            f"nothing that it knows. Choose {' or '.join(OF_TOKENS)}."
        )


def _pairs(opened: OpenedRun) -> Pairs:
    """The twins that were captured, of emotions with scenarios enough for two halves."""
    there = set(opened.store.items)
    found = [p for p in ordered_pairs(opened.battery) if all(item.id in there for item in p)]
    scenarios = scenarios_of(pair.affective for pair in found)
    rare = [emotion for emotion, groups in scenarios.items() if len(groups) < FEWEST]
    if rare:
        warnings.warn(
            f"left out, since they have fewer than {FEWEST} scenarios: {', '.join(rare)}.",
            stacklevel=3,
        )
    kept = Pairs(pair for pair in found if pair.affective.emotion not in rare)
    if not kept:
        raise StatisticsError(
            f"no emotion of the run has {FEWEST} scenarios with twins: there is nothing to choose "
            "a feature on and to report it of."
        )
    return kept


def _rows(
    opened: OpenedRun,
    encoder: SparseAutoencoder,
    site: Site,
    position: str,
    pairs: Pairs,
    *,
    seed: int,
) -> tuple[TableRows, TableRows]:
    free, told = reception(pairs)
    x = opened.store.read(site, position).select([item.id for item in free])
    encoder.check_width(x.shape[1], str(site))
    place = {"site": site.name, "layer": site.layer, "position": position}
    rows = list(_fit_rows(encoder, x))
    choosing = {pair.affective.pair for pair in pairs.split(seed=seed)[0]}
    asked = [("reception", free, told, x)]
    if len(pairs.emotions) > 1:
        labels = [item.emotion for item in pairs.affective]
        asked.append(("categorisation", list(pairs.affective), labels, x[::2]))
    texts: TableRows = []
    for task, items, labels, own in asked:
        choose = np.array([item.pair in choosing for item in items])
        design = Design.infer(labels, [item.group for item in items])
        halved = Halved(task, design, [item.text for item in items], choose)
        found, chosen = selectivity_rows(
            lambda size, own=own: encoder.blocks(own, at_once=size),  # type: ignore[misc]
            halved,
            lexicons=lexicons(),
            seed=seed,
        )
        rows += [{"method": "sae_feature", **row} for row in found]
        texts += list(_text_rows(encoder, own, items, halved, chosen))
    return [{**place, **row} for row in rows], [{**place, **row} for row in texts]


def _fit_rows(
    encoder: SparseAutoencoder, x: Float[np.ndarray, "item d_model"]
) -> Iterator[dict[str, Any]]:
    """Whether the autoencoder knows these vectors: the variance that it gives back (`explained`),
    and how many features act at once (`active_features`). Warns where it gives back nothing.
    """
    active = 0

    def counted() -> Iterator[tuple[int, np.ndarray]]:
        nonlocal active
        for first, block in encoder.blocks(x):
            active += int((block > 0).sum())
            yield first, block

    share = explained_by(encoder.decode_blocks(counted(), len(x)), x)
    if share <= 0:
        warnings.warn(
            f"{encoder.name} gives back none of the variance at this site (share {share:.2f}): it "
            "was trained on another model, another site or another scale, and its features mean "
            "nothing here.",
            stacklevel=4,
        )
    told = {"method": "sae_reconstruction", "n": len(x)}
    yield {**told, "metric": "explained", "value": share}
    yield {**told, "metric": "active_features", "value": active / len(x)}


def _text_rows(
    encoder: SparseAutoencoder,
    x: Float[np.ndarray, "item d_model"],
    items: Sequence[Stimulus],
    asked: Halved,
    chosen: ChosenFeatures,
) -> Iterator[dict[str, Any]]:
    """The texts in which the best feature of each kind is most active."""
    features = chosen.feature[0]
    columns = activations_of(lambda size: encoder.blocks(x, at_once=size), features)
    for at, kind in enumerate(asked.kinds):
        order = np.argsort(-columns[:, at], kind="stable")[:TOLD_TEXTS]
        for rank, row in enumerate(order.tolist(), start=1):
            item = items[row]
            text = item.text if len(item.text) <= EXCERPT else f"{item.text[: EXCERPT - 1]}…"
            told = {"task": asked.task, "emotion": kind, "feature": int(features[at])}
            told |= {"rank": rank, "of": item.emotion, "id": item.id, "text": text}
            told |= {"half": "choose" if asked.choose[row] else "report"}
            value = {"value": float(columns[row, at]), "n": len(items)}
            yield {"metric": "activation", "method": "sae_feature", **told, **value}
