"""The stage persistence, on models whose truth is known; and how a continuation is put behind a
text.
"""

import warnings
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

import stimuli
from interp import study
from interp.causal.continued import Continued, read_continued, same_behind
from interp.causal.forward import Encoded
from interp.errors import StatisticsError
from interp.results import read_table
from interp.sites import Site
from interp.study import persistence
from interp.study.folder import Study
from interp.study.persistence import followed_pairs
from stimuli.battery import Pair, Pairs, Stimulus

EMOTIONS = ("joy", "fear", "anger")
SITE = Site("resid_post", 1)


@pytest.fixture(scope="module")
def battery():
    planted = stimuli.load("planted", emotions=list(EMOTIONS))
    kept = {pair for pair in (item.pair for item in planted) if pair is None or pair[-2:] < "10"}
    items = [one for one in planted if one.pair in kept and one.arm != "keyword_rich"]
    return replace(planted, items=tuple(items))


def conduct(model: str, battery, out):
    path = stimuli.save(battery, out.with_suffix(".jsonl"))
    asked = study.Settings.of(model=model, stimuli=str(path), out=out, sites=("resid_post",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the record keeps them
        told = study.run(asked, stages=["persistence"])
    return told, read_table(out / "tables" / "persistence.csv")


def test_what_is_planted_stays_to_the_last_offset(battery, tmp_path):
    told, rows = conduct("planted", battery, tmp_path / "run")
    probe = rows[(rows["metric"] == "auroc") & (rows["control"] == "")]
    assert set(probe["task"]) == {"reception", "categorisation"}
    assert sorted(set(probe["offset"])) == [0, 1, 2, 4, 8, 16, 32, 64]
    assert probe["value"].min() > 0.95
    shuffled = rows[rows["control"] == "shuffled"]
    assert shuffled["draw_high"].max() < 0.8
    assert {one["verdict"] for one in told["findings"]} == {"found"}
    assert all("16 tokens into a neutral continuation" in f["sentence"] for f in told["findings"])
    (one,) = [one for one in told["findings"] if one["about"] == "reception"]
    beside = dict(one["beside"])
    assert beside["half-life of the margin"] == "surely more than 64 tokens"


def test_where_nothing_is_planted_nothing_is_said(battery, tmp_path):
    told, rows = conduct("planted_null", battery, tmp_path / "run")
    assert not {"found", "found inverted"} & {one["verdict"] for one in told["findings"]}
    assert not (rows["metric"] == "half_life").any()
    assert any("nothing that could stay" in one["text"] for one in told["cautions"])


TEXTS = ["the dog ran home", "the old man saw the small dog near the river", "she was"]
BEHIND = "the house is near the road and the door is open " * 4


def items(*texts: str) -> list[Stimulus]:
    return [Stimulus(f"t{at}", text, "joy") for at, text in enumerate(texts)]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_states_are_those_of_a_pass_over_each_text_alone(tiny_model, family):
    model = tiny_model(family)
    read = read_continued(model, items(*TEXTS), [BEHIND] * 3, site=SITE, offsets=(1, 2, 8))
    assert read.offsets == (0, 1, 2, 8)
    assert read.same.all()
    for row, text in enumerate(TEXTS):
        end = len(model.tokenize([text], open_turn=True)[0]) - 1
        (ids,) = model.tokenize([f"{text} {BEHIND}"])
        _, cache = model.bridge.run_with_cache(torch.tensor([ids]))
        expected = cache[str(SITE)][0, [end + k for k in read.offsets]].numpy()
        np.testing.assert_allclose(read.states[row], expected, atol=1e-5)


def test_a_continuation_ends_where_the_context_does(tiny_model):
    model = tiny_model("llama")
    longest = " ".join(["dog"] * (model.dims.n_ctx - 12))
    read = read_continued(
        model, items(longest, "she was"), [BEHIND] * 2, site=SITE, offsets=(1, 2, 4, 8, 16)
    )
    assert read.offsets == (0, 1, 2, 4, 8)
    full = " ".join(["dog"] * (model.dims.n_ctx - 1))
    with pytest.raises(StatisticsError, match="no room for a continuation"):
        read_continued(model, items(full), [BEHIND], site=SITE, offsets=(1, 2))


def test_a_text_whose_continuation_becomes_other_tokens_is_told():
    rows = [Encoded((7, 1, 2, 3), 0), Encoded((8, 9, 1, 2, 3), 1), Encoded((8, 9, 1, 5, 3), 1)]
    assert same_behind(rows, ["a"] * 3, 3).tolist() == [True, True, False]
    assert same_behind(rows, ["a"] * 3, 1).all()
    assert same_behind(rows, ["a", "a", "b"], 3).all()  # another continuation


@pytest.mark.parametrize("other", [1, 4], ids=["affective", "neutral"])
def test_a_pair_is_left_out_where_one_of_its_continuations_differs(monkeypatch, battery, other):
    """The three affective texts come first, then their neutral twins."""
    pairs = Pairs(list(battery.pairs())[:3])
    states = np.arange(6.0).reshape(6, 1, 1)
    read = Continued((0,), states, np.arange(6) != other)
    monkeypatch.setattr(persistence, "read_continued", lambda *_, **__: read)
    monkeypatch.setattr(persistence, "continuations_for", lambda _: ["And then"])
    at_work = Mock(spec=Study, settings=Mock(limits=Mock(offsets=1)))
    with pytest.warns(UserWarning, match="left out 1 of 3 pairs"):
        found, kept = persistence._read(at_work, pairs, SITE)
    assert list(kept) == [pairs[0], pairs[2]]
    assert found.states.ravel().tolist() == [0, 2, 3, 5]


def test_scenarios_are_kept_whole_until_every_emotion_has_enough():
    def pair(group: int, emotion: str) -> Pair:
        one = Stimulus(f"{group}{emotion}", "a", emotion, "keyword_free", f"{group}{emotion}",
                       str(group))  # fmt: skip
        return Pair(one, replace(one, id=f"{group}{emotion}n", emotion="neutral", arm="neutral"))

    crossed = Pairs(pair(group, emotion) for group in range(5) for emotion in ("joy", "fear"))
    assert len(followed_pairs(crossed, 3)) == 6
    nested = Pairs([*(pair(g, "joy") for g in range(5)), *(pair(g, "fear") for g in range(5, 9))])
    kept = followed_pairs(nested, 3)
    assert [one.affective.group for one in kept] == ["0", "1", "2", "5", "6", "7"]
