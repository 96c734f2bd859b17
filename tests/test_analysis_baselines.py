"""Text baselines find what they are made to find, learn from training rows only, and agree with
scikit-learn's own pipeline.
"""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from interp.analysis import baselines, dependence
from interp.analysis.folds import Fold, grouped_folds
from interp.analysis.predictions import Predictions, score
from interp.errors import DataError, UsageError

LEXICONS = {
    "negation": ["not", "no", "never", "n't"],
    "function_words": ["the", "a", "of", "because", "not"],
}
PLAIN = [
    "lamp",
    "river",
    "stone",
    "wagon",
    "ladder",
    "pencil",
    "basket",
    "window",
    "garden",
    "kettle",
    "bottle",
    "candle",
]


def corpus(n_pairs: int, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Twins of the same random words: nothing tells them apart."""
    random = np.random.default_rng(seed)
    texts = []
    for _ in range(n_pairs):
        words = list(random.choice(PLAIN, 12))
        texts += [" ".join(words), " ".join(random.permutation(words))]
    return texts, np.tile(["affective", "neutral"], n_pairs), np.repeat(np.arange(n_pairs), 2)


def auroc_of(baseline: str, texts: list[str], y: np.ndarray, groups: np.ndarray) -> float:
    folds = grouped_folds(y, groups)
    told = baselines.predict_text(
        texts, y, groups, folds=folds, baseline=baseline, lexicons=LEXICONS
    )
    return score(told)[0]["value"]


@pytest.mark.parametrize(
    ("baseline", "planted"),
    [
        ("bag_of_words", "tears"),
        ("tfidf", "tears"),
        ("char", "tears"),
        ("negation", "didn't"),
        ("length", "lamp lamp lamp lamp"),
        ("function_words", "because"),
    ],
)
def test_each_baseline_finds_its_own_fault_and_nothing_else_at_chance(
    baseline: str, planted: str
) -> None:
    texts, y, groups = corpus(60)
    assert auroc_of(baseline, texts, y, groups) == pytest.approx(0.5, abs=0.16)
    marked = [
        f"{text} {planted}" if one == "affective" else text
        for text, one in zip(texts, y, strict=True)
    ]
    assert auroc_of(baseline, marked, y, groups) > 0.9


def test_negation_does_not_see_other_words_and_length_no_words() -> None:
    texts, y, groups = corpus(60)
    marked = [
        text.replace("lamp", "tears") if one == "affective" else text
        for text, one in zip(texts, y, strict=True)
    ]
    assert auroc_of("negation", marked, y, groups) == 0.5
    assert auroc_of("function_words", marked, y, groups) == 0.5


@pytest.mark.parametrize("baseline", ["tfidf", "bag_of_words"])
def test_rotated_counts_are_the_plain_pipeline(baseline: str) -> None:
    """Vocabulary and idf fitted on the training texts by scikit-learn, then logistic regression on
    the wide sparse rows.
    """
    texts, y, groups = corpus(30, seed=1)
    texts = [
        f"{text} tears" if one == "affective" and k % 3 else text
        for k, (text, one) in enumerate(zip(texts, y, strict=True))
    ]
    fold = grouped_folds(y, groups)[0]
    prepare = baselines.BASELINES[baseline](texts, LEXICONS)
    z = prepare(fold)
    train, test = ([texts[row] for row in rows] for rows in (fold.train, fold.test))
    if baseline == "tfidf":
        vectorizer = TfidfVectorizer(
            tokenizer=baselines.words, token_pattern=None, ngram_range=(1, 2), min_df=2
        )
    else:
        vectorizer = CountVectorizer(analyzer=baselines.words, min_df=2)
    wide = LogisticRegression(tol=1e-8, max_iter=5000).fit(
        vectorizer.fit_transform(train), y[fold.train]
    )
    narrow = LogisticRegression(tol=1e-8, max_iter=5000).fit(z[fold.train], y[fold.train])
    expected = wide.predict_proba(vectorizer.transform(test))
    assert narrow.predict_proba(z[fold.test]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("baseline", ["tfidf", "bag_of_words", "char"])
def test_many_texts_stay_sparse_and_are_read_as_few_are(
    baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same settings, probabilities and width, without any square matrix of the texts."""
    texts, y, groups = corpus(60, seed=4)
    random = np.random.default_rng(5)
    texts = [
        f"{text} {' '.join(f'w{chr(97 + k)}' for k in random.integers(0, 26, 9))}"
        + (" tears" if one == "affective" and random.random() < 0.5 else "")
        for text, one in zip(texts, y, strict=True)
    ]
    folds = grouped_folds(y, groups)

    def told() -> Predictions:
        return baselines.predict_text(
            texts, y, groups, folds=folds, baseline=baseline, lexicons=LEXICONS
        )

    turned = told()
    monkeypatch.setattr(baselines, "MOST_TURNED", 0)
    monkeypatch.delattr(np.linalg, "eigh")
    monkeypatch.delattr(np.linalg, "solve")
    monkeypatch.setattr(dependence, "MOST_AXES", 1000)  # all that there are
    kept = told()
    assert kept.chosen == turned.chosen
    assert kept.probability == pytest.approx(turned.probability, abs=1e-3)
    assert kept.influence == pytest.approx(turned.influence, abs=1e-8)
    monkeypatch.setattr(dependence, "MOST_AXES", 40)
    assert told().inflation == pytest.approx(turned.inflation, rel=0.02)


def test_words_of_test_texts_are_not_learned() -> None:
    texts = ["lamp river", "lamp river", "lamp stone", "lamp stone", "zebra zebra", "zebra quagga"]
    fold = Fold(np.arange(4), np.array([4, 5]))
    assert baselines.BASELINES["bag_of_words"](texts, LEXICONS)(fold)[4:] == pytest.approx(0.0)


def test_categorisation_from_a_topic_word() -> None:
    texts, _, groups = corpus(40, seed=2)
    y = np.repeat(["joy", "fear", "anger", "trust"], 20)
    topical = [f"{text} topic{label}" for text, label in zip(texts, y, strict=True)]
    assert auroc_of("bag_of_words", topical, y, groups) > 0.95


def test_every_baseline_has_its_rows() -> None:
    texts, y, groups = corpus(20)
    told = baselines.predict_texts(
        texts, y, groups, folds=grouped_folds(y, groups), lexicons=LEXICONS
    )
    rows = baselines.baseline_rows(told)
    assert [row["baseline"] for row in rows if row["metric"] == "auroc"] == list(
        baselines.BASELINES
    )
    assert {row["n"] for row in rows} == {40}
    bounded = [row for row in rows if row["metric"] != "log_loss"]  # of which no interval covers
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in bounded)


def test_counting_of_listed_words() -> None:
    assert baselines.words("She DIDN’T go – not 3 times, l'été.") == [
        "she",
        "didn't",
        "go",
        "not",
        "times",
        "l'été",
    ]
    assert baselines.count_listed("She didn’t go; not now, nothing.", ["not", "n't"]) == 2
    assert baselines.count_listed("She didn't go.", ["not"]) == 0
    assert baselines.count_listed("She didn't go.", ["didn't"]) == 1


def test_missing_lexicon_unknown_baseline_and_empty_texts_are_refused() -> None:
    texts, y, groups = corpus(10)
    folds = grouped_folds(y, groups)
    with pytest.raises(DataError, match="lexicon 'negation' is missing or empty"):
        baselines.predict_text(
            texts, y, groups, folds=folds, baseline="negation", lexicons={"negation": []}
        )
    with pytest.raises(UsageError, match="unknown baseline 'bert'"):
        baselines.predict_text(texts, y, groups, folds=folds, baseline="bert", lexicons=LEXICONS)
    with pytest.raises(DataError, match="share no word"):
        baselines.predict_text(
            ["1 2"] * 20, y, groups, folds=folds, baseline="bag_of_words", lexicons=LEXICONS
        )
