"""Label words beside a probe: what the model knows is told, what only the probe reads is not, and a
model that likes one word best is calibrated.
"""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from interp.analysis.folds import grouped_folds
from interp.analysis.probes import cross_validate
from interp.analysis.zero_shot import BY_WORDS, asked_predictions, zero_shot_rows
from interp.causal.readout import Readout
from interp.evaluation.forced_choice import asked_by_words, forced_choice
from interp.models import load
from interp.reporting.zero_shot import told_of_zero_shot, zero_shot_scores
from interp.results import read_table, table
from interp.sites import Site
from interp.study.zero_shot_trial import zero_shot
from interp.testbeds import planted
from stimuli import save
from stimuli.battery import NEUTRAL, Battery, Stimulus
from support import crossed_texts
from support.commands import outcome

pytestmark = pytest.mark.filterwarnings("ignore:probe. fewer training items")

EMOTIONS = ("anger", "fear", "joy")
PLANTED_EMOTIONS = (*EMOTIONS, "sadness")
SPEC = planted.SPECS["planted"]
PLANTED = planted.stimuli(SPEC, n=6)
N = 30


def made(*, asked: float, read: float, seed: int = 0):
    """Scores of label words and activations of N scenarios under three emotions, each with so much
    of the emotion in it.
    """
    random = np.random.default_rng(seed)
    y = np.tile(EMOTIONS, N)
    own = (y[:, None] == np.array(EMOTIONS)).astype(float)
    scores = asked * own + random.normal(size=own.shape)
    x = read * np.concatenate([own, np.zeros((len(y), 5))], axis=1) + random.normal(size=(3 * N, 8))
    return scores, x, y, np.repeat(np.arange(N), 3)


def rows_of(scores, x, y, groups):
    probe = cross_validate(x, y, groups, folds=grouped_folds(y, groups))
    told = asked_predictions(scores, EMOTIONS, probe)
    return table(zero_shot_rows(probe, {BY_WORDS: told}, {}))


def value(found, method, metric, target=""):
    of = (found.method == method) & (found.metric == metric) & (found.target == target)
    (row,) = found[of].itertuples()
    return row


def test_scores_are_those_of_scikit_learn():
    scores, x, y, groups = made(asked=1.5, read=0)
    found = rows_of(scores, x, y, groups)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = roc_auc_score(y, p, multi_class="ovr", average="macro")
    assert value(found, BY_WORDS, "auroc").value == pytest.approx(expected)
    right = np.array(EMOTIONS)[scores.argmax(axis=1)] == y
    assert value(found, BY_WORDS, "accuracy").value == pytest.approx(right.mean())
    probe = value(found, "probe", "auroc").value
    assert value(found, "probe", "auroc_above", BY_WORDS).value == pytest.approx(probe - expected)


def test_interval_is_that_of_drawn_scenarios():
    """Against a bootstrap of whole scenarios."""
    scores, x, y, groups = made(asked=1.0, read=0)
    row = value(rows_of(scores, x, y, groups), BY_WORDS, "auroc")
    random, drawn = np.random.default_rng(1), []
    for _ in range(120):
        at = np.concatenate([np.flatnonzero(groups == one) for one in random.integers(N, size=N)])
        p = np.exp(scores[at])
        p /= p.sum(axis=1, keepdims=True)
        drawn.append(roc_auc_score(y[at], p, multi_class="ovr", average="macro"))
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert row.ci_high - row.ci_low == pytest.approx(high - low, rel=0.3)


def test_what_only_the_probe_reads_and_what_only_the_words_say():
    hidden = rows_of(*made(asked=0, read=4))
    assert value(hidden, "probe", "auroc_above", BY_WORDS).ci_low > 0.2
    assert value(hidden, BY_WORDS, "auroc").ci_low < 0.5 < value(hidden, BY_WORDS, "auroc").ci_high
    said = rows_of(*made(asked=4, read=0))
    assert value(said, "probe", "auroc_above", BY_WORDS).ci_high < -0.2
    both = rows_of(*made(asked=4, read=8))
    assert value(both, "probe", "accuracy_above", BY_WORDS).ci_low < 0.1


def test_the_judge_chooses_the_largest_gain_and_what_calibrates_gains_nothing(tiny_model):
    llama = tiny_model("llama")
    readout = Readout({"a": ["dog"], "b": ["cold"], "c": ["home"]}, " she was")
    texts = ["the dog", "it was cold in", "a house"]
    items = [Stimulus(f"{at}", text, NEUTRAL) for at, text in enumerate(texts)]
    said = asked_by_words(llama, readout, items, {"same": items[:1], "dot": ["."]})
    np.testing.assert_allclose(said.gains("same")[0], 0, atol=1e-6)
    judge = forced_choice(llama, readout, neutral=["."])
    assert judge(texts) == [said.emotions[at] for at in said.gains("dot").argmax(axis=1)]


def asked_of(name):
    """What is told of a testbed: six scenarios of each of four emotions."""
    items = [one for one in PLANTED.where(arm="keyword_free") if one.emotion in PLANTED_EMOTIONS]
    folds = grouped_folds([one.emotion for one in items], [one.group for one in items], n_splits=3)
    neutral = list(PLANTED.where(emotion=NEUTRAL))[:8]
    site = Site("resid_post", SPEC.n_layers - 1)
    bed = load(name, check=False)
    return table(zero_shot(bed, items, folds, site=site, neutral=neutral), n_layers=SPEC.n_layers)


def test_the_planted_model_says_what_it_holds_and_its_null_nothing():
    found = asked_of("planted")
    says, reads = told_of_zero_shot(found)
    assert says.startswith("Asked by label words, the model tells the emotions apart, beyond")
    assert reads.startswith("That a probe reads more of the emotion than the model says is not")
    assert value(found, BY_WORDS, "accuracy").value == 1
    figure = zero_shot_scores(found)
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines[:-1]]
    np.testing.assert_allclose(drawn, found[found.metric == "auroc"].value)
    says, _ = told_of_zero_shot(asked_of("planted_null"))
    assert "when it is asked by label words is not found" in says


def test_the_command_says_what_cannot_be_asked(tiny_folder, tmp_path):
    neutral = [
        Stimulus(f"n{at}", f"The {one} was new .", NEUTRAL, NEUTRAL)
        for at, one in enumerate(("lamp", "box"))
    ]
    battery = crossed_texts.battery()
    save(Battery("crossed", (*battery.items, *neutral)), tmp_path / "crossed.jsonl")
    save(battery, tmp_path / "bare.jsonl")
    given = ("--model", tiny_folder("llama"), "--out", tmp_path / "out")
    arm = ("--texts-arm", "keyword_rich")
    texts = ("--stimuli", tmp_path / "crossed.jsonl")
    code, told = outcome("zero-shot", *given, *texts)
    assert (code, "no text of the arm 'keyword_free'" in told) == (2, True)
    code, told = outcome("zero-shot", *given, *texts, *arm, "--emotions", "joy,fears")
    assert (code, "Did you mean 'fear'?" in told) == (2, True)
    code, told = outcome("zero-shot", *given, *texts, *arm, "--emotions", "joy")
    assert (code, "need >= 2" in told) == (6, True)
    code, told = outcome("zero-shot", *given, *texts, *arm, "--folds", 20)
    assert (code, "the largest valid number is 12" in told) == (6, True)
    code, told = outcome("zero-shot", *given, "--stimuli", tmp_path / "bare.jsonl", *arm)
    assert (code, "has no neutral text" in told) == (6, True)
    code, told = outcome("zero-shot", *given, *texts, *arm, "--probe-layer", 9)
    assert (code, "layer 9 is out of range" in told) == (2, True)
    assert not (tmp_path / "out").exists()
    code, told = outcome("zero-shot", *given, *texts, *arm, "--probe-layer", 1, "--folds", 3)
    assert code == 0, told
    assert set(read_table(tmp_path / "out" / "tables" / "zero_shot.csv").layer.dropna()) == {1}
    code, told = outcome("zero-shot", *given, *texts, *arm)
    assert (code, "is there already" in told) == (4, True)
