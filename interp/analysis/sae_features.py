"""Which features of a sparse autoencoder know an emotion, as other scenarios show.

A feature is *selective* for a kind of text as far as it is more active in texts of that kind than
in others: the AUROC of its activation. Of very many features the best one is selective by luck, so
it is chosen on one half of the scenarios and told of the other, beside

    control     what it is
    shuffled    the same with labels that changed places between scenarios, all of it chosen anew
    word        the one word whose count is most selective, chosen in the same way
    baselines   every text baseline, fitted on the half that chooses

Two questions, as for probes: `reception` (affective text or twin) and `categorisation` (one emotion
among the affective texts).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata
from sklearn.feature_extraction.text import CountVectorizer

from interp.analysis.baselines import BASELINES, Lexicons, predict_text, words
from interp.analysis.design import Design
from interp.analysis.detection import auroc_mean
from interp.analysis.folds import N_INNER, Fold, grouped_folds
from interp.analysis.nested import ABOVE_TEXT
from interp.chance import benjamini_hochberg, permutation_p
from interp.errors import StatisticsError
from interp.results import TableRow
from interp.shares import Share, share_difference
from interp.stats import codes

N_SHUFFLED = 499
"""Relabellings, each of which chooses its features anew."""

RANKED = 5
"""Features of each emotion that are told."""

WORD = "word"
"""What the control of a single word is called."""

_AT_ONCE = 1 << 24

FeatureBlocks = Callable[[int], Iterator[tuple[int, Float[np.ndarray, "item feature"]]]]
"""From a number of features to blocks of so many, each with the number of its first one."""


class Halved(NamedTuple):
    """A question of texts: its `task`, the labels and scenarios (`design`), the texts, and which of
    them `choose` (the others are reported of).
    """

    task: str
    design: Design
    texts: Sequence[str]
    choose: Bool[np.ndarray, " item"]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The labels that a feature may be selective for: of twins only `affective`."""
        known = tuple(map(str, np.unique(self.design.y)))
        return known[:1] if self.task == "reception" else known

    @property
    def truth(self) -> Bool[np.ndarray, "item kind"]:
        """Which texts are of which kind."""
        return np.stack([self.design.y == one for one in self.kinds], axis=1)


class ChosenFeatures(NamedTuple):
    """Of each labelling (the true one first) and kind the most selective feature of the choosing
    half, and its AUROC in the other one; and every feature's AUROC in the choosing half.
    """

    feature: Int[np.ndarray, "draw kind"]
    reported: Float[np.ndarray, "draw kind"]
    every: Float[np.ndarray, "kind feature"]


def rank_auroc(
    x: Float[np.ndarray, "item feature"], positive: Bool[np.ndarray, "draw item"]
) -> Float[np.ndarray, "draw feature"]:
    """The AUROC of each feature for each row of `positive`, ties counting half (Mann & Whitney
    1947); .5 where a side is empty, which tells nothing.
    """
    n = positive.sum(axis=1)[:, None]
    sums = positive.astype(np.float64) @ rankdata(x, axis=0)
    pairs = n * (positive.shape[1] - n)
    found = np.full(sums.shape, 0.5)
    return np.divide(sums - n * (n + 1) / 2, pairs, out=found, where=pairs > 0)


def choose_features(
    blocks: FeatureBlocks, labellings: Int[np.ndarray, "draw item"], asked: Halved
) -> ChosenFeatures:
    """The most selective feature of each kind under each labelling (codes of the labels); of equals
    the first.
    """
    known = np.unique(asked.design.y).tolist()
    of_kind = np.array([known.index(kind) for kind in asked.kinds])
    truth = (labellings[:, None, :] == of_kind[None, :, None]).reshape(-1, labellings.shape[1])
    best, feature = np.full(len(truth), -1.0), np.zeros(len(truth), dtype=np.int64)
    reported, every = np.full(len(truth), np.nan), []
    mine, rest = asked.choose, ~asked.choose
    for first, x in blocks(max(1, _AT_ONCE // len(truth))):
        found = rank_auroc(x[mine], truth[:, mine])
        every.append(found[: len(of_kind)])
        at = found.argmax(axis=1)
        top = found[np.arange(len(at)), at]
        better = np.flatnonzero(top > best)
        best[better], feature[better] = top[better], first + at[better]
        winners, place = np.unique(at[better], return_inverse=True)
        told = rank_auroc(x[rest][:, winners], truth[better][:, rest])
        reported[better] = told[np.arange(len(better)), place]
    shape = (len(labellings), len(of_kind))
    return ChosenFeatures(
        feature.reshape(shape), reported.reshape(shape), np.concatenate(every, axis=1)
    )


def told_auroc(
    scores: Float[np.ndarray, "item kind"], truth: Bool[np.ndarray, "item kind"], asked: Halved
) -> Share:
    """The mean over kinds of the AUROC of each column of scores, of the half that chose nothing."""
    rest = ~asked.choose
    return auroc_mean(scores[rest], truth[rest], asked.design.groups[rest])


def selectivity_rows(
    blocks: FeatureBlocks, asked: Halved, *, lexicons: Lexicons, seed: int = 0
) -> tuple[list[TableRow], ChosenFeatures]:
    """The rows of one question, all of the half that chose nothing, and what was chosen.

    - `auroc` of each kind (`emotion`; empty: the mean over them) by control: "" (the feature, with
      its number and its `p`), `shuffled` (the mean and the range of 95 % of its draws), `word` and
      the text baselines. `p` is that of the shuffled labels, `p_adjusted` over the emotions.
    - `above_text`: how far the features' mean lies above each rival in words (`target`), paired.
    - `ranked`: the best `RANKED` features of each kind, by their place in the choosing half.

    Raises `StatisticsError` where a half lacks a kind or no relabelling changes enough.
    """
    _check_halves(asked)
    half = asked.choose.astype(np.int64)
    drawn = asked.design.relabel(n_perm=N_SHUFFLED, seed=seed, folds=half)
    labellings = np.concatenate([codes(asked.design.y)[None].astype(drawn.dtype), drawn])
    found = choose_features(blocks, labellings, asked)
    ranked = np.argsort(-found.every, axis=1, kind="stable")[:, :RANKED]
    scores = activations_of(blocks, ranked.reshape(-1)).reshape(len(half), *ranked.shape)
    rows = list(_feature_rows(scores[:, :, 0], found, asked))
    rows += _ranked_rows(scores, ranked, found, asked)
    rows += _shuffled_rows(found, asked)
    mine = told_auroc(scores[:, :, 0], asked.truth, asked)
    for name, told, more in _in_words(asked, lexicons):
        rows += [{**row, **more(row["emotion"])} for row in _auroc_rows(told, asked, name)]
        groups = asked.design.groups[~asked.choose]
        above = share_difference(mine, told_auroc(told, asked.truth, asked), groups)
        rows.append({"metric": ABOVE_TEXT, "emotion": "", "target": name, **above._asdict()})
    return [{"task": asked.task, "half": "report", "control": "", **row} for row in rows], found


def activations_of(
    blocks: FeatureBlocks, features: Int[np.ndarray, " feature"]
) -> Float[np.ndarray, "item feature"]:
    """The activations of these features alone."""
    parts: dict[int, np.ndarray] = {}
    for first, x in blocks(_AT_ONCE >> 10):
        inside = (features >= first) & (features < first + x.shape[1])
        parts |= {int(one): x[:, one - first] for one in features[inside]}
    return np.stack([parts[int(one)] for one in features], axis=1).astype(np.float64)


def _check_halves(asked: Halved) -> None:
    for which in (asked.choose, ~asked.choose):
        lacking = set(asked.kinds) - set(asked.design.y[which].tolist())
        if lacking or len(set(asked.design.y[which].tolist())) < 2:
            named = ", ".join(sorted(lacking)) or "any second kind of text"
            raise StatisticsError(f"{asked.task}: one half of the scenarios lacks {named}.")


def _auroc_rows(
    scores: Float[np.ndarray, "item kind"], asked: Halved, control: str
) -> Iterator[TableRow]:
    """The AUROC of each kind, and the mean over them where there are several."""
    groups, truth = asked.design.groups[~asked.choose], asked.truth
    columns = [(kind, slice(at, at + 1)) for at, kind in enumerate(asked.kinds)]
    for kind, at in [("", slice(None)), *(columns if len(columns) > 1 else [])]:
        found = told_auroc(scores[:, at], truth[:, at], asked).estimate(groups)
        yield {"metric": "auroc", "emotion": kind, "control": control, **found._asdict()}


def _feature_rows(
    scores: Float[np.ndarray, "item kind"], found: ChosenFeatures, asked: Halved
) -> Iterator[TableRow]:
    null = found.reported[1:]
    p = [permutation_p(float(v), null[:, at]) for at, v in enumerate(found.reported[0])]
    adjusted = benjamini_hochberg(np.array(p))
    overall = permutation_p(float(found.reported[0].mean()), null.mean(axis=1))
    single = len(asked.kinds) == 1
    for row in _auroc_rows(scores, asked, ""):
        at = asked.kinds.index(row["emotion"]) if row["emotion"] else 0
        told = {"p": p[at], "p_adjusted": float(adjusted[at])} if row["emotion"] else {"p": overall}
        number = int(found.feature[0, at]) if row["emotion"] or single else np.nan
        yield {**row, "feature": number, **told, "least_p": 1 / (1 + len(null))}


def _ranked_rows(
    scores: Float[np.ndarray, "item kind rank"],
    ranked: Int[np.ndarray, "kind rank"],
    found: ChosenFeatures,
    asked: Halved,
) -> Iterator[TableRow]:
    rest, truth = ~asked.choose, asked.truth
    for at, kind in enumerate(asked.kinds):
        for place, feature in enumerate(ranked[at].tolist()):
            own = scores[:, at, place]
            value = float(rank_auroc(own[rest, None], truth[rest, at][None])[0, 0])
            told = {"feature": feature, "rank": place + 1, "active": float((own > 0).mean())}
            told |= {"chosen_auroc": float(found.every[at, feature]), "n": int(rest.sum())}
            yield {"metric": "ranked", "emotion": kind, "value": value, **told}


def _shuffled_rows(found: ChosenFeatures, asked: Halved) -> Iterator[TableRow]:
    """The mean of the shuffled labels' AUROC, and the range that holds 95 % of its draws."""
    several = list(enumerate(asked.kinds)) if len(asked.kinds) > 1 else []
    drawn = [("", found.reported[1:].mean(axis=1))]
    drawn += [(kind, found.reported[1:, at]) for at, kind in several]
    for kind, one in drawn:
        low, high = np.quantile(one, (0.025, 0.975)).tolist()
        told = {"value": float(one.mean()), "draw_low": low, "draw_high": high, "n": len(one)}
        yield {"metric": "auroc", "emotion": kind, "control": "shuffled", **told}


InWords = tuple[str, Float[np.ndarray, "item kind"], Callable[[str], Mapping[str, Any]]]


def _in_words(asked: Halved, lexicons: Lexicons) -> Iterator[InWords]:
    """The rivals in words: the single word of each kind, then each text baseline; with what a row
    is to say besides.
    """
    counted = _counts(asked.texts)
    if counted is not None:
        counts, vocabulary = counted
        truth = codes(asked.design.y)[None]
        best = choose_features(lambda _: iter([(0, counts)]), truth, asked).feature[0]

        def named(kind: str) -> Mapping[str, Any]:
            single = len(asked.kinds) == 1
            at = asked.kinds.index(kind) if kind else 0
            return {"word": vocabulary[best[at]]} if kind or single else {}

        yield WORD, counts[:, best], named
    folds = [_fold(asked)]
    classes = np.unique(asked.design.y).tolist()
    columns = [classes.index(kind) for kind in asked.kinds]
    for name in BASELINES:
        told = predict_text(
            asked.texts,
            asked.design.y,
            asked.design.groups,
            folds=folds,
            baseline=name,
            lexicons=lexicons,
        )
        scores = np.zeros((len(asked.texts), len(columns)))
        scores[told.rows] = told.probability[:, columns]
        yield name, scores, lambda _: {}


def _counts(texts: Sequence[str]) -> tuple[Float[np.ndarray, "item word"], list[str]] | None:
    """How often each text holds each word that two texts have; None where no word is in two."""
    vectorizer = CountVectorizer(analyzer=words, min_df=2)
    try:
        counts = vectorizer.fit_transform(texts).toarray().astype(np.float64)
    except ValueError:  # an empty vocabulary: there is no word to choose
        return None
    return counts, [str(one) for one in vectorizer.get_feature_names_out()]


def _fold(asked: Halved) -> Fold:
    """One half trains and the other is tested; inner folds of the first choose the penalty, where
    it has scenarios enough.
    """
    train, test = np.flatnonzero(asked.choose), np.flatnonzero(~asked.choose)
    labels, groups = asked.design.y[train], asked.design.groups[train]
    try:
        inner = grouped_folds(labels, groups, n_splits=N_INNER)
    except StatisticsError:
        return Fold(train, test)
    return Fold(train, test, tuple((train[one.train], train[one.test]) for one in inner))
