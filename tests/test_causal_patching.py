"""Patching: finds the planted layer and position, nothing without a circuit, and equals hooks on a
plain Hugging Face model.
"""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from interp.causal.alignment import align
from interp.causal.patching import Patches, patch_pairs
from interp.causal.readout import Readout
from interp.causal.restoration import effect_rows, gates, nested_restoration, warn_of_inverted
from interp.errors import DataError, StatisticsError, UsageError
from interp.models import load
from interp.results import table
from interp.sites import Site
from interp.testbeds import planted
from stimuli.battery import NEUTRAL, Pair, Stimulus
from stimuli.splits import balanced

SPEC, NULL = planted.SPECS["planted"], planted.SPECS["planted_null"]
TRUTH = planted.truth(SPEC)
READOUT = Readout(planted.readout(SPEC), "")


def planted_pairs(spec, n):
    return balanced(planted.stimuli(spec, n=20).pairs(), n=n)


@pytest.fixture(scope="module")
def rows():
    head = f"blocks.{TRUTH.head_layer}.attn.hook_z[{TRUTH.heads['joy'][0][1]}]"
    return table(
        patch_pairs(
            load("planted", check=False),
            planted_pairs(SPEC, 48),
            READOUT,
            Patches(sites=("resid_post", head)),
        )
    )


def pick(rows, **where):
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


@pytest.mark.parametrize("mode", ["denoise", "noise"])
@pytest.mark.parametrize("control", ["", "random_source"])
def test_restoration_peaks_at_the_planted_layer_and_position(rows, mode, control):
    found = pick(
        rows, metric="restoration", emotion="all", mode=mode, control=control, site="resid_post"
    )
    assert len(found) == SPEC.n_layers * 2
    for _, row in found.iterrows():
        there = TRUTH.position(int(row["layer"])) == row["position"]
        assert row["value"] == pytest.approx(float(there), abs=0.01 if control == "" else 0.1)
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert row["n"] == 48


@pytest.mark.parametrize("mode", ["denoise", "noise"])
def test_the_place_of_the_headline_is_chosen_on_other_scenarios(rows, mode):
    """The planted circuit moves the emotion to the last token at one layer: every fold finds a
    place that restores all.
    """
    found = pick(rows, metric="nested_restoration", emotion="all", mode=mode).set_index("position")
    assert set(found.index) == {"last", "edit"}
    for position, row in found.iterrows():
        assert TRUTH.position(int(row["layer"])) == position
        assert row["value"] == pytest.approx(1.0, abs=0.01)
        assert row["n"] == 48


def test_the_highest_of_many_sites_that_restore_nothing_is_no_more_than_nothing():
    """30 sites of noise around zero: the highest looks like something, the one that others chose
    does not.
    """
    random, effects, groups = np.random.default_rng(8), np.full(40, 1.0), np.arange(40)
    highest, honest = [], []
    for seed in range(40):
        moved = {
            (Site("resid_post", layer), "last", ""): random.normal(size=40) for layer in range(30)
        }
        highest.append(max(values.mean() for values in moved.values()))
        honest.append(nested_restoration(moved, effects, groups, seed=seed)[0]["value"])
    assert np.mean(highest) > 0.25
    assert np.mean(honest) == pytest.approx(0.0, abs=0.08)  # standard error .025
    few = {key: values[:4] for key, values in moved.items()}
    assert nested_restoration(few, effects[:4], groups[:4]) == []


def test_the_p_of_what_is_restored_lets_every_fold_choose_anew():
    """The share of all signs by hand, folds and choices written out; and of 20 sites that restore
    nothing it is small as seldom as it says, where the interval alone claims one in ten.
    """
    random, n = np.random.default_rng(3), 6
    moved = {(Site("resid_post", at), "last", ""): random.normal(size=n) for at in range(3)}
    values = np.stack(list(moved.values()))
    fold = np.random.default_rng(0).permutation(n) % 5

    def told(signs: tuple[float, ...]) -> float:
        drawn, total = values * np.array(signs), 0.0
        for one in range(5):
            best = drawn[:, fold != one].sum(axis=1).argmax()
            total += drawn[best, fold == one].sum()
        return total

    (row,) = nested_restoration(moved, np.ones(n), np.arange(n))
    own = told((1.0,) * n)
    as_much = [told(signs) >= own - 1e-9 for signs in product((1.0, -1.0), repeat=n)]
    assert row["p"] == pytest.approx(np.mean(as_much))
    assert row["value"] == pytest.approx(own / n)
    (mirrored,) = nested_restoration(
        {key: -one for key, one in moved.items()}, -np.ones(n), np.arange(n)
    )
    assert (mirrored["p"], mirrored["value"]) == pytest.approx((row["p"], row["value"]))
    found = []
    for _ in range(200):
        moved = {(Site("resid_post", at), "last", ""): random.normal(size=16) for at in range(20)}
        found += nested_restoration(moved, 3 + random.normal(size=16), np.arange(16))
    small = np.array([row["p"] <= 0.05 for row in found])
    assert 0.01 <= small.mean() <= 0.10  # nominal .05, binomial error .015
    above = np.array([row["ci_low"] > 0 for row in found])
    assert above.mean() <= 0.07  # .14 where the choice is not counted


def test_the_site_that_is_one_by_construction_is_never_chosen():
    embedded = table(
        patch_pairs(
            load("planted", check=False),
            planted_pairs(SPEC, 16),
            READOUT,
            Patches(sites=("resid_pre@0", "resid_post@3")),
        )
    )
    assert set(pick(embedded, metric="restoration", site="resid_pre")["position"]) == {
        "last",
        "edit",
    }
    assert set(pick(embedded, metric="nested_restoration")["site"]) == {"resid_post"}


def test_a_patched_head_restores_the_emotions_it_carries_and_no_other(rows):
    planted_head = TRUTH.heads["joy"][0]
    found = pick(rows, metric="restoration", site="z", position="last", mode="denoise", control="")
    assert len(found) == len(SPEC.emotions) + 1
    for _, row in found[found["emotion"] != "all"].iterrows():
        assert row["value"] == pytest.approx(
            float(TRUTH.heads[row["emotion"]][0] == planted_head), abs=0.05
        )


def test_the_copy_at_the_last_layer_has_no_divergence_from_its_source(rows):
    found = pick(
        rows,
        metric="kl",
        emotion="all",
        position="last",
        site="resid_post",
        control="",
        mode="denoise",
    )
    by_layer = found.set_index("layer")["value"]
    assert by_layer[SPEC.n_layers - 1] < 1e-6
    assert by_layer[0] > 1


def test_the_total_effect_stands_beside(rows):
    found = pick(rows, metric="total_effect", emotion="all")
    denoise, noise = (pick(found, mode=mode)["value"].item() for mode in ("denoise", "noise"))
    assert denoise > 5
    assert noise == pytest.approx(-denoise)
    clean = pick(
        rows,
        metric="logit_diff",
        emotion="all",
        position="last",
        site="resid_post",
        layer=3,
        control="",
    )
    moved = dict(zip(clean["mode"], clean["value"], strict=True))
    assert moved["denoise"] - moved["noise"] == pytest.approx(denoise, rel=1e-3)


def test_without_a_circuit_nothing_is_restored():
    found = table(
        patch_pairs(
            load("planted_null", check=False),
            planted_pairs(NULL, 24),
            READOUT,
            Patches(modes=("denoise",)),
        )
    )
    effect = pick(found, metric="total_effect", emotion="all").iloc[0]
    assert effect["ci_low"] <= 0 <= effect["ci_high"]
    assert pick(found, metric="restoration", emotion="all").empty
    assert len(pick(found, metric="logit_diff", emotion="all", control="")) == SPEC.n_layers * 2


WORDS = {"joy": ["happy"], "fear": ["afraid"], "anger": ["angry"]}
SUFFIX = " . he feels"


def story(n, affective, neutral, emotion="fear"):
    return Pair(
        Stimulus(f"{n}a", affective, emotion, "keyword_free", f"p{n}", f"g{n}"),
        Stimulus(f"{n}n", neutral, NEUTRAL, "neutral", f"p{n}", f"g{n}"),
    )


def rows_of(effects, groups, emotions, sign=1):
    """Rows of a source whose effect is known over a target of zero, and of one patch that restores
    all of it.
    """
    whole = {"logit_diff": np.asarray(effects, dtype=float), "kl": np.zeros(len(effects))}
    none = {"logit_diff": np.zeros(len(effects)), "kl": np.zeros(len(effects))}
    cells = {
        (None, "source", ""): whole,
        (None, "target", ""): none,
        (Site("mlp_out", 0), "last", ""): whole,
    }
    return table(
        {"method": "patching", **row}
        for row in effect_rows(cells, emotions, np.array(groups), met={}, sign=sign)
    )


EIGHT = ["anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust"]


def test_nothing_is_let_through_as_something():
    """No effect, 8 emotions of 8 pairs: nominal .05 for any of them; 200 data sets, binomial error
    .015.

    The gate of before (a percentile bootstrap of each emotion alone, on either side of zero) let
    one through in two thirds.
    """
    random, passed = np.random.default_rng(0), 0
    for _ in range(200):
        effects = random.standard_normal(64)
        found = gates(
            effects, np.arange(64), {e: np.arange(64) // 8 == i for i, e in enumerate(EIGHT)}
        )
        passed += any(gate["effect"] == "expected" for gate in found.values())
    assert passed / 200 <= 0.10


def test_an_effect_is_let_through_with_its_p_and_its_inversion_is_told():
    random = np.random.default_rng(1)
    effects = np.concatenate(
        [2 + random.standard_normal(8), -2 + random.standard_normal(8), random.standard_normal(8)]
    )
    groups, emotions = range(24), ["joy"] * 8 + ["fear"] * 8 + ["anger"] * 8
    for sign in (1, -1):
        found = rows_of(sign * effects, groups, emotions, sign)
        total = pick(found, metric="total_effect").set_index("emotion")
        assert total["effect"].to_dict() == {
            "joy": "expected",
            "fear": "inverted",
            "anger": "none",
            "all": "none",
        }
        assert total.loc["joy", "p"] == pytest.approx(1 / 256)
        assert total.loc["joy", "p_corrected"] == pytest.approx(4 / 256)
        assert set(pick(found, metric="restoration")["emotion"]) == {"joy"}
        with pytest.warns(
            UserWarning, match="the emotional texts of fear make their own words less likely"
        ):
            warn_of_inverted(found.to_dict("records"))


def test_one_scenario_is_no_evidence_and_effects_that_cancel_are_no_crash():
    one = rows_of(np.ones(5), [0] * 5, ["joy"] * 5)
    assert pick(one, metric="total_effect")[["ci_low", "ci_high"]].isna().all(axis=None)
    assert pick(one, metric="total_effect")["effect"].unique().tolist() == ["too few"]
    assert pick(one, metric="restoration").empty
    assert pick(rows_of([1.0, 1, 1, 0], range(4), ["joy"] * 4), metric="restoration").empty
    assert pick(rows_of([1.0, -1.0], range(2), ["joy"] * 2), metric="restoration").empty
    near = pick(
        rows_of([1.0, 1, 1, 1, 1, 0], range(6), ["joy"] * 6), metric="restoration", emotion="joy"
    )
    assert near[["value", "ci_low", "ci_high"]].to_numpy().tolist() == [[1.0, 1.0, 1.0]]


UNEQUAL = [
    story(0, "the dog bit the small child and ran", "the dog saw the child and ran"),
    story(1, "anna lost the old key near the river", "anna kept the old key near the river today"),
]


@pytest.fixture(scope="module")
def llama(tiny_folder):
    return load(str(tiny_folder("llama")), check=False)


def by_hand(llama, hf, source, target, *, layer, position):
    """Logits behind the target when a torch hook puts the source's block output at one position's
    tokens.
    """
    kept = []
    handle = hf.model.layers[layer].register_forward_hook(
        lambda m, x, y: kept.append(y[0] if isinstance(y, tuple) else y)
    )
    ids = [torch.tensor(llama.tokenize([s.text + SUFFIX])) for s in (source, target)]
    with torch.no_grad():
        goal = hf(ids[0]).logits[0, -1]
    handle.remove()
    taken = kept[0].reshape(-1, 32)
    alone = [llama.tokenize([s.text])[0] for s in (source, target)]
    moves = [(len(alone[0]) - 1, len(alone[1]) - 1)]
    if position == "edit":
        found = align(*alone)
        moves = [(int(found.source_of[i]), i) for i in range(*found.target_edit)]

    def put(module, inputs, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        for come, go in moves:
            hidden.reshape(-1, 32)[go] = taken[come]
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = hf.model.layers[layer].register_forward_hook(put)
    with torch.no_grad():
        logits = hf(ids[1]).logits[0, -1]
    handle.remove()
    return logits.log_softmax(-1), goal.log_softmax(-1)


@pytest.mark.parametrize("mode", ["denoise", "noise"])
@pytest.mark.parametrize("position", ["last", "edit"])
def test_twins_of_unequal_length_equal_hooks_on_the_plain_model(llama, mode, position):
    found = table(
        patch_pairs(
            llama,
            UNEQUAL,
            Readout(WORDS, SUFFIX),
            Patches(sites=("resid_post@1",), positions=(position,), modes=(mode,)),
        )
    )
    hf = llama.plain().eval()
    tokens = [llama.tokenizer.convert_tokens_to_ids(words[0]) for words in WORDS.values()]
    for control in ("", "random_source"):
        differences, divergences = [], []
        for i, pair in enumerate(UNEQUAL):
            source, target = (
                (pair.affective, pair.neutral)
                if mode == "denoise"
                else (pair.neutral, pair.affective)
            )
            if control:
                if position == "edit":
                    continue
                source = UNEQUAL[1 - i].affective if mode == "denoise" else UNEQUAL[1 - i].neutral
            patched, _ = by_hand(llama, hf, source, target, layer=1, position=position)
            twin = pair.affective if mode == "denoise" else pair.neutral
            _, goal = by_hand(llama, hf, twin, target, layer=1, position="last")
            scores = patched[tokens].numpy()
            differences.append(scores[1] - (scores[0] + scores[2]) / 2)
            divergences.append(float((patched.exp() * (patched - goal)).sum()))
        row = pick(found, emotion="fear", control=control, site="resid_post").set_index("metric")[
            "value"
        ]
        if differences:
            assert row["logit_diff"] == pytest.approx(np.mean(differences), abs=1e-4)
            assert row["kl"] == pytest.approx(np.mean(divergences), abs=1e-4)


def test_an_emotion_with_one_scenario_has_no_control(llama):
    pairs = [*UNEQUAL, story(2, "ben won the big cake", "ben saw the big cake", "joy")]
    found = table(
        patch_pairs(
            llama,
            pairs,
            Readout(WORDS, SUFFIX),
            Patches(sites=("resid_post@2",), positions=("last",), modes=("denoise",)),
        )
    )
    counts = pick(found, metric="kl").set_index(["emotion", "control"])["n"]
    assert counts.to_dict() == {
        ("fear", ""): 2,
        ("fear", "random_source"): 2,
        ("joy", ""): 1,
        ("all", ""): 3,
        ("all", "random_source"): 2,
    }
    assert isinstance(found, pd.DataFrame)


def test_what_cannot_be_patched(llama):
    readout = Readout(WORDS, SUFFIX)
    with pytest.raises(UsageError, match="unknown position 'middle'"):
        patch_pairs(llama, UNEQUAL, readout, Patches(positions=("middle",)))
    with pytest.raises(UsageError, match=r"unknown mode \(none given\)"):
        patch_pairs(llama, UNEQUAL, readout, Patches(modes=()))
    with pytest.raises(UsageError, match="out of range"):
        patch_pairs(llama, UNEQUAL, readout, Patches(sites=("resid_post@7",)))
    with pytest.raises(StatisticsError, match="at least one pair"):
        patch_pairs(llama, [], readout)
    with pytest.raises(UsageError, match="no words for 'sadness'"):
        patch_pairs(llama, [story(0, "the dog ran", "the dog sat", "sadness")], readout)
    with pytest.raises(DataError, match="same tokens"):
        patch_pairs(llama, [story(0, "the dog zzz", "the dog yyy")], readout)
