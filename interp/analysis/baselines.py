"""Text-only baselines: what the words alone tell, without any model, on the same folds as the
probe.

In the best-known published battery a bag of words separates affective texts from their controls at
AUROC .99 and the count of negations alone at .93, so a probe's score means something only beside
these. Word lists come in as `lexicons` (data of the stimuli): a mapping that has at least the keys
`negation` and `function_words`.

Vocabularies and document frequencies are learned on the training rows of each fold. Of up to
`MOST_TURNED` training rows the logistic regression reads the principal coordinates, an exact
rotation (an L2 penalty does not see rotations) that makes wide counts as narrow as the number of
texts; the cost of that grows with the cube of the rows. More rows stay sparse: the same optimum,
in time that grows with the words.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from interp.analysis.features import Features, standardiser
from interp.analysis.folds import Fold, Folds
from interp.analysis.predictions import Predictions, score
from interp.analysis.probes import Probe, predict_folds
from interp.analysis.spread import share_out
from interp.errors import DataError, UsageError
from interp.stats import Labels

Lexicons = Mapping[str, Sequence[str]]
Prepare = Callable[[Fold], Features]


def _reader(seed: int, *, tol: float = 1e-6) -> LogisticRegression:
    # Ten times as exact as the probe: sparse and turned rows then end at the same optimum.
    return LogisticRegression(tol=tol, max_iter=1000, random_state=seed, warm_start=True)


READER = Probe(_reader, ({"C": 0.1}, {"C": 1.0}, {"C": 10.0}), chooser=partial(_reader, tol=1e-4))
"""What reads a baseline's features; its settings suit counts and unit-length tf-idf rows."""

MOST_TURNED = 1000
"""Training rows up to which counts are turned into principal coordinates."""

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_LEAST_TEXTS = 2
_SMALLEST_VARIANCE = 1e-9


def words(text: str) -> list[str]:
    """The lower-case words of a text, contractions whole ("didn't"), typographic apostrophes made
    plain.
    """
    return _WORD.findall(text.lower().replace("’", "'"))


def count_listed(text: str, listed: Sequence[str]) -> int:
    """How many words of `text` are listed; a listed "n't" counts every contraction that ends in
    it.
    """
    known = set(listed)
    return sum(word in known or ("n't" in known and word.endswith("n't")) for word in words(text))


def _bag_of_words(texts: Sequence[str], lexicons: Lexicons) -> Prepare:
    del lexicons
    return _counted(CountVectorizer(analyzer=words, min_df=_LEAST_TEXTS), texts, tfidf=False)


def _tfidf(texts: Sequence[str], lexicons: Lexicons) -> Prepare:
    del lexicons
    return _counted(
        CountVectorizer(
            tokenizer=words, token_pattern=None, ngram_range=(1, 2), min_df=_LEAST_TEXTS
        ),
        texts,
    )


def _char(texts: Sequence[str], lexicons: Lexicons) -> Prepare:
    del lexicons
    return _counted(
        CountVectorizer(analyzer="char", ngram_range=(2, 5), min_df=_LEAST_TEXTS), texts
    )


def _negation(texts: Sequence[str], lexicons: Lexicons) -> Prepare:
    return _measured(
        np.array([[count_listed(text, _lexicon(lexicons, "negation"))] for text in texts])
    )


def _length(texts: Sequence[str], lexicons: Lexicons) -> Prepare:
    del lexicons
    return _measured(np.array([[len(words(text)), len(text)] for text in texts]))


def _function_words(texts: Sequence[str], lexicons: Lexicons) -> Prepare:
    place = {
        word: column
        for column, word in enumerate(sorted(set(_lexicon(lexicons, "function_words"))))
    }
    counts = np.zeros((len(texts), len(place)))
    for row, text in enumerate(texts):
        for word in words(text):
            if word in place:
                counts[row, place[word]] += 1
    return _measured(counts)


BASELINES: dict[str, Callable[[Sequence[str], Lexicons], Prepare]] = {
    "bag_of_words": _bag_of_words,
    "tfidf": _tfidf,
    "char": _char,
    "negation": _negation,
    "length": _length,
    "function_words": _function_words,
}
"""Name -> (texts, lexicons) -> features of all texts, learned on a fold's training rows."""


def predict_text(
    texts: Sequence[str],
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    baseline: str,
    lexicons: Lexicons,
    parts: Labels | None = None,
) -> Predictions:
    """Held-out predictions from the text alone; `parts` as in `predict_folds`.

    Raises `UsageError` for an unknown baseline, `DataError` for a missing lexicon.
    """
    if baseline not in BASELINES:
        raise UsageError(f"unknown baseline {baseline!r}: choose one of {', '.join(BASELINES)}.")
    prepare = BASELINES[baseline](texts, lexicons)
    return _read(prepare, y, groups, folds=folds, parts=parts)


def predict_measured(
    columns: Shaped[np.ndarray, "item feature"], y: Labels, groups: Labels, *, folds: Folds
) -> Predictions:
    """Held-out predictions from measurements of the texts, one column each, by the baselines' own
    classifier and grid.
    """
    return _read(_measured(columns), y, groups, folds=folds)


def predict_texts(
    texts: Sequence[str],
    y: Labels,
    groups: Labels,
    *,
    folds: Folds,
    lexicons: Lexicons,
    parts: Labels | None = None,
) -> dict[str, Predictions]:
    """`predict_text` of every baseline of `BASELINES`, by name; `parts` as in `predict_folds`."""
    told = share_out(
        lambda name: predict_text(
            texts, y, groups, folds=folds, baseline=name, lexicons=lexicons, parts=parts
        ),
        BASELINES,
    )
    return dict(zip(BASELINES, told, strict=True))


def baseline_rows(told: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    """The metrics of `predictions.score` for each of `predict_texts`, one row each, its name under
    `baseline`.
    """
    return [
        {"baseline": name, **row}
        for name, predictions in told.items()
        for row in score(predictions)
    ]


def _read(
    prepare: Prepare, y: Labels, groups: Labels, *, folds: Folds, parts: Labels | None = None
) -> Predictions:
    grids = [READER.grid] * len(folds)
    return predict_folds(prepare, y, groups, folds=folds, kind=READER, grids=grids, parts=parts)


def _lexicon(lexicons: Lexicons, name: str) -> Sequence[str]:
    if not lexicons.get(name):
        raise DataError(
            f"the lexicon {name!r} is missing or empty: pass one of the stimuli's word lists "
            "under that name."
        )
    return lexicons[name]


def _measured(columns: Shaped[np.ndarray, "item feature"]) -> Prepare:
    x = columns.astype(float)
    return lambda fold: standardiser(x[fold.train])(x)


def _counted(vectorizer: CountVectorizer, texts: Sequence[str], *, tfidf: bool = True) -> Prepare:
    try:
        counts = sparse.csr_array(vectorizer.fit_transform(texts), dtype=float)
    except ValueError as error:
        raise DataError(
            "the texts share no word or letters at all: nothing can be counted."
        ) from error

    def prepare(fold: Fold) -> Features:
        rows = _weighted(counts, fold, tfidf=tfidf)
        return rows if len(fold.train) > MOST_TURNED else _coordinates(rows, fold)

    return prepare


def _weighted(counts: sparse.csr_array, fold: Fold, *, tfidf: bool) -> sparse.csr_array:
    """The counts of what at least two training texts hold; with `tfidf`, times log((1+n)/(1+df)) +
    1, rows of length one.
    """
    frequency = np.asarray((counts[fold.train] > 0).sum(axis=0)).ravel()
    known = frequency >= _LEAST_TEXTS
    kept = counts[:, known]
    if not tfidf:
        return kept
    weight = np.log((1 + len(fold.train)) / (1 + frequency[known])) + 1
    kept = sparse.csr_array(kept.multiply(weight))
    length = np.sqrt(np.asarray(kept.multiply(kept).sum(axis=1)).ravel())
    return sparse.csr_array(sparse.diags_array(1 / np.where(length > 0, length, 1)) @ kept)


def turned_rows(rows: Features, fold: Fold) -> Float[np.ndarray, "item feature"]:
    """Features that are not sparse: those that are, as coordinates along the training rows."""
    return rows if isinstance(rows, np.ndarray) else _coordinates(rows, fold)


def _coordinates(rows: sparse.csr_array, fold: Fold) -> Float[np.ndarray, "item feature"]:
    """All rows in the principal coordinates of the training rows, so that inner products with these
    are kept.
    """
    gram = (rows @ rows[fold.train].T).toarray()
    values, vectors = np.linalg.eigh(gram[fold.train])
    kept = values > _SMALLEST_VARIANCE * max(values[-1], 1.0)
    return gram @ vectors[:, kept] / np.sqrt(values[kept])
