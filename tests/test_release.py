"""A steered emotion that goes has the half-life that was planted; what only the words carry is told
from what the model keeps; and what is read is what the model holds.
"""

import numpy as np
import pytest
import torch

from interp.analysis.released import (
    AT_RANDOM,
    NEVER_STEERED,
    REREAD,
    STEERED_FIRST,
    heard_rows,
    released_rows,
)
from interp.errors import UsageError
from interp.evaluation.release import Release, release
from interp.reporting.released import release_curve, told_of_release
from interp.results import read_table, table
from interp.sites import Site
from interp.study.release_trial import layer_to_read
from support import crossed_texts
from support.commands import outcome
from support.given_directions import given
from support.steered_hf import SteeredLlama

OFFSETS = (0, 1, 2, 4, 8, 16)
KEPT = np.array([1, 0.9, 0.7, 0.3, 0.1, 0.1])
SHAPE = (4, 24, len(OFFSETS))


def made(*, words: float, random: float = 0.0, seed: int = 0):
    """Readings of arms in which the share KEPT of the steering is left, so much of it in the
    words.
    """
    draw = np.random.default_rng(seed)
    never = draw.normal(size=SHAPE)
    shift = 3 * KEPT
    moved = {STEERED_FIRST: 1.0, REREAD: words, AT_RANDOM: random, NEVER_STEERED: 0.0}
    return {
        arm: never + share * shift + 0.3 * draw.normal(size=SHAPE) * (arm != NEVER_STEERED)
        for arm, share in moved.items()
    }


def told_of(readings, *, heard: float = 0.9):
    draw = np.random.default_rng(1)
    right = {
        arm: draw.random(SHAPE[:2]) < share
        for arm, share in ((STEERED_FIRST, heard), (AT_RANDOM, 0.25), (NEVER_STEERED, 0.25))
    }
    return table([*released_rows(readings, OFFSETS), *heard_rows(right, judge="made")])


def value(found, metric, offset=None, control="", target=""):
    rows = found[(found.metric == metric) & (found.control == control) & (found.target == target)]
    (row,) = (rows if offset is None else rows[rows.offset == offset]).itertuples()
    return row


def test_what_was_planted_is_found():
    found = told_of(made(words=1.0))
    for offset, kept in zip(OFFSETS, KEPT, strict=True):
        row = value(found, "retained", offset)
        assert row.value == pytest.approx(kept, abs=0.08)
        assert value(found, "shift_above", offset, target=AT_RANDOM).value == pytest.approx(
            3 * kept, abs=0.2
        )
    half = np.expm1(0.5 * (np.log1p(2) + np.log1p(4)))
    assert value(found, "half_life").value == pytest.approx(half, rel=0.1)
    beyond = value(found, "shift_above", 1, target=REREAD)
    assert beyond.ci_low < 0 < beyond.ci_high
    lasts, halved, heard = told_of_release(found)
    assert lasts.startswith("16 tokens after it is let go, a steered emotion is still read")
    assert "more than the written words carry by themselves is not found" in lasts
    one = value(found, "half_life")
    assert halved == (
        f"Half-life of what is read at the last steered token: {one.value:.1f} tokens "
        f"({one.half_low:.1f} to {one.half_high:.1f})."
    )
    assert heard.startswith("The emotion is heard in what is written after the release")


def test_what_the_model_keeps_is_told_from_the_words():
    found = told_of(made(words=0.2))
    assert "That is more than the written words carry" in told_of_release(found)[0]
    assert value(found, "shift_above", 1, target=REREAD).value == pytest.approx(2.16, abs=0.2)


def test_nothing_lasts_where_any_push_does_as_much():
    found = told_of(made(words=1.0, random=1.0), heard=0.25)
    lasts, *_, heard = told_of_release(found)
    assert "more than after a random direction, is not found" in lasts
    assert "in unsteered texts, is not found" in heard
    still = made(words=1.0)
    still[STEERED_FIRST] = still[NEVER_STEERED] + 0.1 * np.random.default_rng(0).normal(size=SHAPE)
    assert not {"retained", "half_life"} & set(told_of(still).metric)


def test_a_text_that_ended_counts_where_it_is_read():
    readings = made(words=1.0)
    readings[STEERED_FIRST][:, :6, 3:] = np.nan
    found = table(released_rows(readings, OFFSETS))
    assert value(found, "shift", 2).n == 96
    assert value(found, "shift", 4).n == value(found, "shift", 4, AT_RANDOM).n == 72
    assert value(found, "retained", 8).n == 72


def test_the_figure_shows_the_three_arms():
    lines = release_curve(told_of(made(words=0.5))).axes[0].lines
    arms = [line for line in lines if len(line.get_xdata()) == len(OFFSETS)]
    assert len(arms) == 3
    np.testing.assert_allclose(arms[0].get_ydata(), 3 * KEPT, atol=0.2)


def test_what_is_read_is_what_hugging_face_holds(tiny_model):
    """Written greedily without a cache, steered at three tokens only, and read there; the random
    arm aside.
    """
    llama = tiny_model("llama")
    rng = np.random.default_rng(0)
    vector, reader = (one / np.linalg.norm(one) for one in rng.normal(size=(2, 32)))
    origin = llama.provenance
    directions = {"joy": given(vector, Site("resid_post", 0), 6.0, origin)}
    readers = {"joy": given(reader, Site("resid_post", 1), 2.0, origin)}
    how = Release(steered=3, after=4, unit="length")
    prompts = ["the old dog", "she went home and"]
    judge = ("last", lambda texts: ["joy" if text else None for text in texts])
    told = release(llama, prompts, directions, readers, judge, how)
    found, texts = table(told.rows), told.texts
    shifts, rereads = [], []
    for place, prompt in enumerate(prompts):
        (ids,) = llama.tokenize([prompt])
        first = len(ids) - 1
        states = {}
        steered = range(first, first + 3)
        for name, positions in (("steered", steered), ("never", ())):
            push = SteeredLlama(llama, torch.from_numpy(6 * vector).float(), positions)
            whole = list(ids)
            for _ in range(7):
                logits, _ = push(whole)
                whole.append(int(logits.argmax()))
            _, states[name] = push(whole)
            if name == "steered":
                own = [one for one in texts if one["control"] == ""][place]
                assert own["text"] == llama.decode(whole[first + 1 : first + 4])
                assert own["text_after"] == llama.decode(whole[first + 4 :])
                _, states["reread"] = SteeredLlama(llama, torch.zeros(32), ())(whole)
        at = [first + 2 + k for k in how.offsets]
        along = {name: one[at] @ reader / 2 for name, one in states.items()}
        shifts.append(along["steered"] - along["never"])
        rereads.append(along["reread"] - along["never"])
    assert how.offsets == (0, 1, 2, 4)
    for place, offset in enumerate(how.offsets):
        own = value(found, "shift", offset).value
        assert own == pytest.approx(np.mean(shifts, axis=0)[place], abs=1e-4)
        words = value(found, "shift", offset, REREAD).value
        assert words == pytest.approx(np.mean(rereads, axis=0)[place], abs=1e-4)
    assert abs(value(found, "shift_above", 2, target=REREAD).value) > 1e-3
    assert value(found, "success").value == 1


def test_what_cannot_be_read_is_refused(tiny_model):
    llama = tiny_model("llama")
    low, high = (
        {"joy": given(np.eye(32)[0], Site("resid_post", layer), 1.0, llama.provenance)}
        for layer in (0, 1)
    )
    judge = ("none", lambda texts: [None] * len(texts))
    with pytest.raises(UsageError, match="layer 0 is read and layer 1 steered"):
        release(llama, ["the dog"], high, low, judge, Release())


def test_the_command_lets_go(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(
        "interp.study.release_trial.forced_choice",
        lambda model, readout: lambda texts: [readout.emotions[0]] * len(texts),
    )
    prompts, out = tmp_path / "prompts.txt", tmp_path / "out"
    prompts.write_text("the old dog\nshe went home and\nit was cold\n")
    texts = ("--stimuli", crossed_texts.write(tmp_path / "crossed.jsonl"), "--prompts", prompts)
    given_ = ("--model", tiny_folder("llama"), *texts, "--emotions", "joy,fear", "--out", out)
    code, told = outcome("release", *given_, "--layer", 9)
    assert (code, "layer 9 is out of range" in told) == (2, True)
    code, told = outcome("release", *given_, "--layer", 1, "--read-layer", 0)
    assert (code, "name a later layer" in told) == (2, True)
    assert not out.exists()
    few = ("--n-prompts", 2, "--steered", 2, "--after", 4, "--layer", 0, "--read-layer", 1)
    code, told = outcome("release", *given_, *few)
    assert code == 0, told
    assert set(read_table(out / "tables" / "release.csv").offset.dropna()) == {0, 1, 2, 4}
    kept = read_table(out / "tables" / "released_texts.csv")
    assert set(kept.prompt) == {"the old dog", "she went home and"}
    assert set(kept.control) == {"", "random", "unsteered"}
    assert (out / "figures" / "release_curve.svg").exists()


def test_the_layer_that_is_read_lies_half_of_the_way_up():
    assert [layer_to_read(layer, n_layers=30) for layer in (0, 19, 28)] == [15, 24, 29]
    with pytest.raises(UsageError, match="layer 29 is the last one"):
        layer_to_read(29, n_layers=30)
