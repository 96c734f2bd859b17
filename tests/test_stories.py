"""Many emotions from stories: sums, components, ranks and axes against loops and scikit-learn, and
what a planted model's stories tell of its emotions.
"""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

import stimuli
from interp import array_files, study
from interp.analysis.circumplex import circumplex_rows, part_products
from interp.analysis.detection import detection_rows
from interp.analysis.predictions import ranks_of
from interp.analysis.stories import (
    STORY_PARTS,
    deal_scenarios,
    label_stories,
    neutral_components,
    story_directions,
    sum_stories,
)
from interp.analysis.story_space import FittedDirections, StorySpace, score_scenarios
from interp.analysis.trajectories import (
    WINDOW,
    TurningStory,
    centred_cosines_of,
    lead_shift,
    trajectory_rows,
)
from interp.capture import ActivationStore
from interp.errors import DataError, StatisticsError
from interp.reporting.stories import circumplex_map, detection_by_emotion
from interp.results import read_table, table
from interp.sites import Site
from interp.study.rating_files import read_ratings
from interp.study.stories import DIRECTIONS_FILE, STORIES
from interp.study.trajectories import TRAJECTORIES, shuffled_story
from interp.testbeds import planted
from stimuli.battery import NEUTRAL, Battery, Stimulus
from support.commands import outcome

SPEC = planted.SPECS["planted"]
KNOWN = ("anger", "fear", "joy")


def made(seed: int, n: int = 90, d: int = 5):
    """Stories of three emotions by two writers, of other lengths, with their rows."""
    random = np.random.default_rng(seed)
    emotion, writer = np.tile(KNOWN, n // 3), np.repeat(["a", "b"], n // 2)
    tokens = random.integers(1, 40, size=n)
    labels = label_stories(emotion, writer, np.arange(n), tokens.tolist())
    return random.normal(size=(n, d)) + labels.emotion[:, None], labels


def blocks(x, size=7):
    return ((range(at, min(at + size, len(x))), x[at : at + size]) for at in range(0, len(x), size))


def test_sums_give_the_means_of_a_loop_over_stories():
    x, labels = made(0)
    found = sum_stories(blocks(x), labels)
    even = np.arange(STORY_PARTS) % 2 == 0
    for writers, parts in ((None, None), ([1], None), ([0], even)):
        told = found.means(writers=writers, parts=parts)
        kept = [
            row
            for row in range(len(x))
            if (writers is None or labels.writer[row] in writers)
            and (parts is None or parts[labels.part[row]])
        ]
        for at in range(3):
            own = [x[row] for row in kept if labels.emotion[row] == at]
            np.testing.assert_allclose(told.means[at], np.mean(own, axis=0))
        weights = labels.tokens[kept]
        np.testing.assert_allclose(told.grand, weights @ x[kept] / weights.sum())
    means, counts = found.part_means()
    np.testing.assert_allclose((means * counts[..., None]).sum(axis=(0, 1)), x.sum(axis=0))


def test_the_neutral_components_are_those_of_a_pca_and_leave_the_directions():
    random = np.random.default_rng(1)
    neutral = random.normal(size=(40, 5)) * [5, 3, 1, 1, 1] + 2
    known = PCA().fit(neutral)
    for share in (0.3, 0.5, 0.9, 0.999):
        found = neutral_components(neutral, share=share)
        n = int(np.searchsorted(np.cumsum(known.explained_variance_ratio_), share)) + 1
        assert len(found.axes) == n
        assert found.explained == pytest.approx(known.explained_variance_ratio_[:n].sum())
        np.testing.assert_allclose(
            np.abs(found.axes @ known.components_[:n].T), np.eye(n), atol=1e-6
        )
    x, labels = made(0)
    means = sum_stories(blocks(x), labels).means()
    axes = neutral_components(neutral).axes
    directions = story_directions(means, axes)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(directions @ axes.T, 0, atol=1e-9)
    plain = means.means - means.grand
    for one, other in zip(directions, plain - plain @ axes.T @ axes, strict=True):
        assert one @ other == pytest.approx(np.linalg.norm(other))
    assert len(neutral_components(neutral, share=0.0).axes) == 0


def test_scenarios_are_dealt_so_that_every_part_has_every_emotion():
    emotions = np.tile([f"e{at}" for at in range(STORY_PARTS)], 20)  # a row of each in turn
    part = deal_scenarios(emotions, np.arange(200), n=STORY_PARTS)
    assert all(len(set(part[emotions == one].tolist())) == STORY_PARTS for one in set(emotions))
    shared = np.repeat(np.arange(50), 4)
    parts = deal_scenarios(np.tile(["a", "b", "c", "d"], 50), shared, n=STORY_PARTS)
    assert all(len(set(parts[shared == one].tolist())) == 1 for one in range(50))
    with pytest.raises(StatisticsError, match=r"of 'b' are of 2 scenarios"):
        label_stories(["a"] * 4 + ["b"] * 2, [""] * 6, np.arange(6), [1] * 6)
    with pytest.raises(DataError, match="no token behind those that are skipped"):
        label_stories(["a", "b"] * 4, [""] * 8, np.arange(8), [1] * 7 + [0])


def test_detection_is_that_of_a_loop_and_of_scikit_learn():
    random = np.random.default_rng(2)
    own = random.integers(0, 7, size=60)
    scores = random.normal(size=(60, 7)).round(1) + 1.5 * np.eye(7)[own]
    ranks = [
        1 + sum(one > row[at] for one in row) + (sum(one == row[at] for one in row) - 1) / 2
        for row, at in zip(scores, own, strict=True)
    ]
    np.testing.assert_allclose(ranks_of(scores, own), ranks)
    found = {row["metric"]: row for row in detection_rows(scores, own, np.arange(60))}
    assert found["rank"]["value"] == pytest.approx(np.mean(ranks))
    assert found["top1"]["value"] == pytest.approx(np.mean([one < 1.5 for one in ranks]))
    assert found["top5"]["value"] == pytest.approx(np.mean([one < 5.5 for one in ranks]))
    each = [roc_auc_score(own == at, scores[:, at]) for at in range(7)]
    assert found["auroc"]["value"] == pytest.approx(np.mean(each))
    assert found["auroc"]["ci_low"] > 0.7
    assert all(row["p"] < 0.01 for row in found.values())
    assert [found[name]["chance"] for name in ("top1", "top5", "auroc", "rank")] == [
        1 / 7, 5 / 7, 0.5, 4.0,
    ]  # fmt: skip
    noise = list(detection_rows(random.normal(size=(60, 7)), own, np.arange(60)))
    assert all(row["p"] > 0.05 for row in noise)
    with pytest.raises(StatisticsError, match="fewer than two emotions"):
        list(detection_rows(scores[own == 1], own[own == 1], np.arange(int((own == 1).sum()))))


def circle(seed: int, *, radius: float, n: int = 24, d: int = 20):
    """Parts' means of `n` emotions on a circle, whose ratings are its two coordinates."""
    random = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(n) / n
    at = np.column_stack([1.5 * np.cos(angle), np.sin(angle)])
    plane = np.linalg.qr(random.normal(size=(d, 2)))[0]
    means = radius * at @ plane.T + random.normal(size=(STORY_PARTS, n, d))
    names = [f"e{one:02d}" for one in range(n)]
    ratings = {
        name: {"valence": float(v), "arousal": float(a)}
        for name, (v, a) in zip(names, at + random.normal(size=at.shape) / 5, strict=True)
    }
    return part_products(names, means, np.full((STORY_PARTS, n), 4.0)), ratings


def test_a_planted_circumplex_is_found_and_noise_has_none():
    parts, ratings = circle(0, radius=2.0)
    found = pd.DataFrame(circumplex_rows(parts, ratings))
    rated = found[found["metric"] == "axis_rating"].set_index(["axis", "reference"])
    assert abs(rated.loc[(1, "valence"), "value"]) > 0.9
    assert abs(rated.loc[(2, "arousal"), "value"]) > 0.9
    assert rated.loc[(1, "valence"), "p_max_t"] < 0.01
    assert abs(rated.loc[(1, "arousal"), "value"]) < 0.4
    low, high = rated.loc[(1, "valence"), ["ci_low", "ci_high"]].abs().sort_values()
    assert 0.8 < low < high <= 1
    rsa = found[found["metric"] == "rsa"].iloc[0]
    assert rsa["value"] > 0.8
    assert rsa["p"] < 0.01
    places = found[found["metric"] == "axis_place"]
    assert len(places) == 48
    assert places["valence"].notna().all()
    order = np.random.default_rng(3).permutation(len(ratings))
    others = dict(zip(ratings, (list(ratings.values())[at] for at in order), strict=True))
    shuffled = pd.DataFrame(circumplex_rows(parts, others))
    assert (shuffled[shuffled["metric"] == "axis_rating"]["p_max_t"] > 0.05).all()
    with pytest.raises(StatisticsError, match="no spread that other scenarios repeat"):
        list(circumplex_rows(*circle(1, radius=0.0)))


def test_parts_are_multiplied_with_other_parts_only():
    parts, _ = circle(2, radius=1.0, n=4, d=3)
    drawn = np.array([2.0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    sums, pairs = np.zeros((4, 4)), 0.0
    for p in range(STORY_PARTS):
        for q in range(STORY_PARTS):
            if p != q:
                sums += drawn[p] * drawn[q] * parts.inner[p, q]
                pairs += drawn[p] * drawn[q]
    np.testing.assert_allclose(parts.pooled(drawn), sums / pairs)
    np.testing.assert_allclose(
        parts.products().without[3], parts.pooled((np.arange(STORY_PARTS) != 3).astype(float))
    )


def test_ratings_come_from_a_file_and_what_is_wrong_in_it_is_named(tmp_path):
    assert set(read_ratings(None)["joy"]) == {"valence", "arousal", "dominance"}
    path = tmp_path / "ratings.csv"
    path.write_text("emotion,valence\njoy,8.2\nawe,6\n")
    assert read_ratings(path) == {"joy": {"valence": 8.2}, "awe": {"valence": 6.0}}
    for text, told in (
        ("emotion,valence\njoy,x\n", r"line 2: valence is 'x'; expected a number"),
        ("emotion,valence\njoy,1\njoy,2\n", r"line 3: 'joy' is rated twice"),
        ("word,valence\njoy,1\n", r"expected a column emotion .* it has word, valence"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=told):
            read_ratings(path)


def captured(battery: Battery, folder, *, position: str):
    """A capture of the planted model, the stream of three layers."""
    path = stimuli.save(battery, folder / "texts.jsonl")
    asked = study.Settings.of(
        model="planted", stimuli=str(path), out=folder / "run", sites=("resid_post",),
        positions=(position,),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study.run(asked, stages=["capture"])
    return folder / "run"


def plainly(battery: Battery) -> Battery:
    """Affective and neutral texts without pairs, written by two."""
    kept = [i for i in battery if i.arm in ("keyword_free", NEUTRAL)]
    kept = [i for i in kept if i.emotion in (*KNOWN, NEUTRAL)]
    items = [
        replace(item, pair=None, fields={**item.fields, "writer": "ab"[at // 2 % 3 > 0]})
        for at, item in enumerate(kept)
    ]
    return Battery("stories", tuple(items))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Stories and other scenarios of the planted model."""
    one, other = (tmp_path_factory.mktemp(name) for name in ("stories", "scenarios"))
    stories = plainly(planted.stimuli(SPEC, n=12, seed=1))
    told = {item.text for item in stories}
    held = plainly(planted.stimuli(SPEC, n=8, seed=7))
    held = Battery("held", tuple(i for i in held if i.text not in told and i.emotion != NEUTRAL))
    return (
        captured(stories, one, position="mean_from(2)"),
        captured(held, other, position="last_content"),
    )


def told_by(*words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return outcome("stories", *words)


def test_a_planted_models_stories_tell_its_scenarios(runs, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the whole site was read at once")

    monkeypatch.setattr(ActivationStore, "read", refuse)  # stories only stream
    out = tmp_path / "out"
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("emotion,valence,arousal\nanger,2.5,5.9\nfear,2.9,6.1\njoy,8.2,5.5\n")
    code, printed = told_by(
        runs[0], "--scenarios", runs[1], "--out", out, "--ratings", ratings, "--json"
    )
    assert code == 0, printed
    rows = read_table(out / "tables" / f"{STORIES}.csv")
    report = rows[(rows["half"] == "report") & (rows["metric"] == "auroc")].iloc[0]
    truth = planted.truth(SPEC)
    assert report["tested_on"] == "scenarios"
    assert report["layer"] >= truth.head_layer
    assert report["value"] > 0.95
    detected = rows[(rows["metric"] == "auroc") & (rows["half"] == "")]
    assert set(detected["control"]) == {"", "words"}
    arrays, about = array_files.read_arrays(out / DIRECTIONS_FILE)
    assert about["emotions"] == list(KNOWN)
    site = Site.parse(about["site"])
    known = np.stack([truth.direction(one, site) for one in KNOWN])
    known -= known.mean(axis=0)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    assert (np.diag(arrays["directions"] @ known.T) > 0.8).all()
    writers = rows[(rows["metric"] == "writer_auroc") & (rows["control"] == "")]
    assert set(zip(writers["fitted_on"], writers["tested_on"], strict=True)) == {
        (one, other) for one in ("a", "b", "all") for other in "ab"
    }
    assert (writers["value"] > 0.9).all()
    said = json.loads(printed)["said"]
    assert "held-out scenarios evoke" in said[0]
    assert "Of all writers" in said[1]
    names = {path.stem for path in (out / "figures").glob("*.svg")}
    assert {"detection_curves", "detection_by_emotion", "writer_matrix", "circumplex_map"} <= names


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("{scenarios}",), 2, "capture them with --positions 'mean_from(50)'"),
        (("{stories}", "--position", "mean_from(9)"), 2, "This run has mean_from(2)"),
        (("{stories}", "--neutral-share", "1"), 2, "expected 0 or more, below 1"),
        (("{stories}", "--ratings", "nowhere.csv"), 2, "cannot read --ratings nowhere.csv"),
        (("{stories}", "--scenarios", "{stories}"), 3, "are stories, too"),
        (("{stories}", "--scenarios", "nowhere"), 4, "holds no run"),
        (("{stories}", "--scenarios", "{scenarios}", "--scenario-position", "last"), 2,
         "was not captured"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_of_stories_is_refused(runs, tmp_path, words, code, told):
    named = dict(zip(("stories", "scenarios"), map(str, runs), strict=True))
    found = told_by(*(one.format(**named) for one in words), "--out", tmp_path / "out")
    assert (found[0], told in found[1]) == (code, True), found
    assert not (tmp_path / "out" / "run.json").exists()


def test_figures_of_171_emotions_can_be_read():
    random, names = np.random.default_rng(0), [f"emotion {at}" for at in range(171)]
    place = {"method": "m", "site": "resid_post", "n": 9, "control": ""}
    rows = [
        {**place, "layer": layer, "metric": "outranked", "emotion": name, "tested_on": "scenarios",
         "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}
        for name in names for layer in (0, 4) for value in [float(random.uniform())]
    ]  # fmt: skip
    (panel, *_) = detection_by_emotion(table(rows)).axes
    assert (len(panel.get_yticks()), panel.images[0].get_array().shape) == (171, (171, 2))
    rows = [
        {**place, "layer": 4, "metric": "axis_place", "emotion": name, "axis": axis,
         "value": float(random.normal()), "valence": valence}
        for name in names for valence in [float(random.uniform(1, 9))] for axis in (1, 2)
    ] + [
        {**place, "layer": 4, "metric": "explained", "axis": axis, "value": 0.2} for axis in (1, 2)
    ]  # fmt: skip
    (panel, *_) = circumplex_map(table(rows)).axes
    assert len(panel.collections[0].get_offsets()) == 171
    assert 12 < len(panel.texts) < 60  # as many names as have room


def turning(seed: int, *, moved: float, n: int = 12, emotions: int = 6) -> list[TurningStory]:
    """Stories of 50 tokens that turn at the 25th, from one emotion to the next."""
    random = np.random.default_rng(seed)
    found = []
    for at in range(n):
        cosines = random.normal(size=(50, emotions)) / 10
        before, behind = at % emotions, (at + 2) % emotions
        cosines[:25, before] += moved
        cosines[25:, behind] += moved
        cosines[3] = np.nan  # a sink
        drawn = random.normal(size=(50, 398)) / 10
        found.append(TurningStory(cosines, drawn, 25, before, behind, f"g{at}"))
    return found


RATED = {f"e{at}": {"valence": float(np.cos(at)), "arousal": float(np.sin(at))} for at in range(6)}


def test_a_shift_is_the_difference_of_two_windows_and_noise_has_none():
    names = tuple(RATED)
    told = turning(0, moved=0.3)
    one = told[0]
    apart = one.cosines[:, one.behind] - one.cosines[:, one.before]
    expected = apart[25 : 25 + WINDOW].mean() - apart[25 - WINDOW : 25].mean()
    assert lead_shift(one) == pytest.approx(expected)
    assert np.isnan(lead_shift(one._replace(turn=2)))
    rows = pd.DataFrame(trajectory_rows(told, turning(1, moved=0.0), names, RATED))
    shift = rows[rows["metric"] == "shift"].set_index("control")
    assert shift.loc["", "value"] == pytest.approx(0.6, abs=0.05)
    assert shift.loc["", "p"] == pytest.approx(1 / 200)
    assert shift.loc["others", "ci_low"] < 0.1
    assert abs(shift.loc["shuffled", "value"]) < 0.05
    above = rows[rows["metric"] == "shift_above"].set_index("target")
    assert (above["ci_low"] > 0.3).all()
    by_offset = rows[rows["metric"] == "trajectory"]
    mean = by_offset.groupby(["arm", by_offset["offset"] >= 0])["value"].mean()
    assert mean["behind", True] == pytest.approx(0.3, abs=0.03)
    assert mean["before", False] == pytest.approx(0.3, abs=0.03)
    assert abs(mean["others", True]) < 0.03
    noise = pd.DataFrame(trajectory_rows(turning(2, moved=0.0), told, names, RATED))
    assert noise.iloc[0]["p"] > 0.05
    slope = noise[noise["metric"] == "confusion_slope"].iloc[0]
    assert slope["p"] > 0.05
    with pytest.raises(StatisticsError, match="no story has 3 tokens before its turn"):
        list(trajectory_rows([one._replace(turn=2)], told, names, RATED))


def test_near_emotions_are_taken_for_the_one_behind_the_turn():
    angle = np.arange(6.0)
    told = []
    for story in turning(0, moved=0.0):
        cosines = story.cosines.copy()
        cosines[25:] += np.cos(angle - story.behind) / 2
        told.append(story._replace(cosines=cosines))
    rows = pd.DataFrame(trajectory_rows(told, told, tuple(RATED), RATED))
    slope = rows[rows["metric"] == "confusion_slope"].iloc[0]
    assert slope["ci_high"] < -0.8
    assert slope["p"] < 0.01
    thirds = rows[rows["metric"] == "confusion"].set_index("arm")["value"]
    assert thirds["near"] > thirds["middle"] > thirds["far"]


def test_centred_cosines_are_those_of_the_vectors_themselves():
    random = np.random.default_rng(0)
    x, centre = random.normal(size=(7, 5)), random.normal(size=5)
    vectors = random.normal(size=(3, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    apart = x - centre
    expected = apart @ vectors.T / np.linalg.norm(apart, axis=1, keepdims=True)
    along = x @ centre / np.linalg.norm(centre)
    norms = np.linalg.norm(x, axis=1)
    found = centred_cosines_of(x @ vectors.T, norms, along, centre, vectors)
    np.testing.assert_allclose(found, expected)


def test_a_shuffled_story_holds_the_same_words_and_turns_at_the_same_number_of_them():
    story = Stimulus("s", "one two three four five six", "joy", fields={"turn": "four"})
    for seed in range(5):
        mixed = shuffled_story(story, story.text.index("four"), np.random.default_rng(seed))
        start, end = mixed.fields["turn"]
        assert mixed.text[start:end] == mixed.text.split()[3]
        assert sorted(mixed.text.split()) == sorted(story.text.split())
        assert mixed.text != story.text


def test_scenarios_are_centred_on_their_own_mean():
    random = np.random.default_rng(0)
    fit = FittedDirections(np.eye(4)[:3], np.zeros(4))
    x = random.normal(size=(6, 4))
    found = [
        score_scenarios(StorySpace(lambda: iter(()), x, x + moved), fit) for moved in (0.0, 9.0)
    ]
    np.testing.assert_allclose(*found)
    apart = x - x.mean(axis=0)
    np.testing.assert_allclose(found[0][2], apart[2, :3] / np.linalg.norm(apart[2]))


def turning_texts(path, n: int = 6):
    """Two planted texts, one behind the other, which turn at the second one's situation."""
    texts = [i for i in planted.stimuli(SPEC, n=n, seed=9) if i.arm == "keyword_free"]
    rows = []
    for at, (one, other) in enumerate(zip(KNOWN, (*KNOWN[1:], KNOWN[0]), strict=True)):
        first, second = ([i for i in texts if i.emotion == name] for name in (one, other))
        for number, (a, b) in enumerate(zip(first, second, strict=True)):
            words = b.text.split()
            start = len(a.text) + 1 + len(" ".join(words[: b.fields["slot"]]))
            start += b.fields["slot"] > 0
            turn = [start, start + len(words[b.fields["slot"]])]
            rows.append({"id": f"t{at}{number}", "text": f"{a.text} {b.text}", "emotion": one,
                         "becomes": other, "turn": turn})  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return rows


@pytest.fixture(scope="module")
def measured(runs, tmp_path_factory):
    """The folder of `interp stories` on the planted stories alone."""
    out = tmp_path_factory.mktemp("measured") / "out"
    code, printed = told_by(runs[0], "--out", out)
    assert code == 0, printed
    assert "stories of other scenarios evoke" in printed
    return out


def test_a_planted_models_stream_turns_with_its_stories(measured, tmp_path):
    path = tmp_path / "turning.jsonl"
    rows = turning_texts(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        code, printed = outcome("trajectories", measured, path, "--out", tmp_path / "out", "--json")
    assert code == 0, printed
    told = read_table(tmp_path / "out" / "tables" / f"{TRAJECTORIES}.csv")
    shift = told[told["metric"] == "shift"].set_index("control")
    assert shift.loc["", "n"] == len(rows)
    assert shift.loc["", "ci_low"] > 0.1
    assert shift.loc["", "p"] == pytest.approx(1 / 200)
    assert shift.loc["shuffled", "ci_high"] < shift.loc["", "value"]
    offsets = told[(told["metric"] == "trajectory") & (told["arm"] == "behind")]
    assert offsets[offsets["offset"] < 0]["value"].max() < offsets["value"].max() - 0.1
    assert {one.stem for one in (tmp_path / "out" / "figures").glob("*.svg")} == {
        "turning_curves", "turning_controls",
    }  # fmt: skip
    assert json.loads(printed)["said"][0].count("the stream turns with the story") == 1


@pytest.mark.parametrize(
    ("changed", "code", "told"),
    [
        ({"becomes": None}, 3, "story 't00' has no 'becomes'"),
        ({"becomes": "jo"}, 3, "there is no direction of 'jo'. Did you mean 'joy'?"),
        ({"becomes": "anger"}, 3, "stays 'anger': its emotion does not turn"),
        ({"turn": "nowhere"}, 3, "occurs 0 times, and must occur once"),
    ],
)
def test_a_story_that_does_not_say_its_turn_is_named(measured, tmp_path, changed, code, told):
    path = tmp_path / "turning.jsonl"
    rows = turning_texts(path, n=2)
    rows[0] = {key: value for key, value in {**rows[0], **changed}.items() if value is not None}
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = outcome("trajectories", measured, path, "--out", tmp_path / "out")
    assert (found[0], told in found[1]) == (code, True), found


def test_directions_of_another_kind_of_folder_are_refused(runs, tmp_path):
    found = outcome("trajectories", runs[0], "x.jsonl", "--out", tmp_path / "out")
    assert found[0] == 4
    assert "story_directions" in found[1]
