"""The playground: it reads and writes what `interp read` and `interp steer` do, beside a random
direction as long, and says why where it cannot.
"""

import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp import study
from interp.directions import Direction
from interp.models.generation import Decoding
from interp.play import door, pictures, pieces
from interp.play.answers import Answers
from interp.play.desk import ALONG_RANDOM, NOTHING_ADDED, as_long_as, by_layer, open_desk
from interp.study.sentence import Manner
from interp.study.sources import Wanted
from support import crossed_texts, matched_pairs
from support.commands import outcome

TEXT = "she was happy in the garden"


@pytest.fixture(scope="module")
def desk(tiny_folder, tiny_model, tmp_path_factory):
    """A tiny Llama and its directions at all of its three layers."""
    folder = tmp_path_factory.mktemp("desk")
    path = crossed_texts.write(folder / "crossed.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "caches"))
        wanted = Wanted(model=str(tiny_folder("llama")), stimuli=str(path))
        manner = Manner(unit="stream", decoding=Decoding(max_new_tokens=6))
        model = tiny_model("llama")
        return open_desk(model, wanted, manner, layer=None, battery="crossed")


@pytest.fixture
def answers(desk, tmp_path):
    return Answers(desk, tmp_path)


def shortened(desk, layer: int, emotion: str, *, length: float = -0.5):
    """The desk, where one direction has no held-out length (surely) above zero."""
    source = desk.sources[layer]
    ends = (length - 0.7, length + 0.7)
    doubtful = replace(source.directions[emotion], length=length, length_interval=ends)
    changed = source._replace(directions={**source.directions, emotion: doubtful})
    return replace(desk, sources={**desk.sources, layer: changed}, _last={})


def test_it_writes_what_steer_writes_and_a_random_direction_as_long(desk):
    weights = {"joy": 4.0, "fear": 0.0, "anger": -3.0}
    found = desk.write(TEXT, weights, layer=1, unit="stream")
    there = desk.sources[1].directions
    mixture = [(there["joy"], 4.0), (there["anger"], -3.0)]
    model, how = desk.model, {"unit": "stream", "max_new_tokens": 6}
    expected = {
        "unsteered": interp.generate(model, [TEXT], max_new_tokens=6),
        "steered": interp.steer(model, [TEXT], mixture, scale=1.0, **how),
    }
    texts = {row["arm"]: row["text"] for row in found.rows}
    assert [*texts] == ["unsteered", "steered", ALONG_RANDOM]
    assert {arm: texts[arm] for arm in expected} == {arm: one for arm, (one,) in expected.items()}
    assert texts["steered"] != texts["unsteered"]
    assert "steered to -3 anger" in found.told[0] or "steered to 4 joy, -3 anger" in found.told[0]
    steps = [weight * one.vector * one.stream_norm for one, weight in mixture]
    drawn, weight = as_long_as(mixture, "stream", np.random.default_rng(0))
    length = np.linalg.norm(np.sum(steps, axis=0))
    assert weight * drawn.stream_norm == pytest.approx(length)
    assert abs(drawn.vector @ there["joy"].vector) < 0.9


def test_nothing_is_added_at_zero_and_costs_are_told_when_asked(desk):
    found = desk.write(TEXT, dict.fromkeys(desk.emotions, 0.0), layer=1, unit="dose")
    assert [row["arm"] for row in found.rows] == ["unsteered"]
    assert found.told == [NOTHING_ADDED]
    assert "perplexity" not in found.rows[0]
    found = desk.write(TEXT, {"joy": 2.0}, layer=1, unit="stream", priced=True)
    assert found.rows[0]["perplexity_ratio"] == pytest.approx(1.0)
    assert len(found.rows) == 3
    assert all(row["perplexity"] > 1 for row in found.rows)


def test_every_layer_reads_as_a_loop_over_its_tokens(desk):
    table = by_layer(desk, desk.read(TEXT))
    assert sorted(set(table["layer"])) == [0, 1, 2]
    (encoded,) = desk.model.encode([TEXT])
    _, cache = desk.model.bridge.run_with_cache(torch.tensor([encoded.ids]))
    for layer, source in desk.sources.items():
        stream = cache[f"blocks.{layer}.hook_resid_post"][0].double().numpy()
        for emotion, one in source.directions.items():
            own = table[(table["layer"] == layer) & (table["emotion"] == emotion)]
            share = (stream[own["token"]] @ one.vector - one.neutral.mean()) / one.length
            if one.length > 0:
                np.testing.assert_allclose(own["value"], share, rtol=1e-4, atol=1e-4)
            assert set(own["sure"]) == {one.length_interval[0] > 0}
    assert desk.has_read(TEXT)
    assert desk.read(TEXT) is desk.read(TEXT)
    desk.read("he sat")
    assert not desk.has_read(TEXT)


def test_a_reading_says_what_its_zero_is(desk):
    notes = " ".join(desk.read(TEXT)[1].notes())
    assert "0 is the mean of all scenes" in notes
    assert "neutral" not in notes
    assert "above the mean of all scenes, each" in desk.read(TEXT)[1].html(page=False)


def test_a_direction_without_a_length_is_told_as_steer_tells_it(desk, tmp_path):
    answers = Answers(shortened(desk, 1, "joy"), tmp_path)
    others = {one: desk.sources[1].directions[one].length > 0 for one in ("anger", "fear")}
    assert answers.can_steer(1) == {**others, "joy": False}
    assert "joy: no share, only percentiles" in answers.doubts(1)
    weights = [1.0 if one == "joy" else 0.0 for one in answers.desk.emotions]
    told = answers.write(TEXT, 1, "dose", False, *weights)
    assert 'role="alert"' in told
    assert "has length -0.5, measured on held-out scenarios: there is no step" in told
    assert answers.read("  ", 1, "joy").tokens.count("the text is empty") == 1
    assert answers.read("  ", 1, "joy").pictures == ""
    assert "there are directions at the layers 0, 1, 2" in answers.write(
        TEXT, 7, "dose", False, 0, 0, 1
    )


def test_a_share_in_doubt_is_in_no_picture(desk):
    doubtful = shortened(desk, 1, "joy", length=0.5)
    table = by_layer(doubtful, doubtful.read(TEXT))
    in_doubt = (table["emotion"] == "joy") & (table["layer"] == 1)
    assert table[in_doubt]["value"].notna().all()
    shown = pictures.surely(table)
    assert shown[in_doubt]["value"].isna().all()
    pd.testing.assert_series_equal(shown[table["sure"]]["value"], table[table["sure"]]["value"])
    assert not table[table["sure"]].empty
    nothing = desk
    for layer in (0, 1, 2):
        nothing = shortened(nothing, layer, "joy")
    told = pieces.token_pictures(nothing, TEXT, "joy")
    assert f"joy: {pieces.NO_PICTURE}" in told
    assert told.count("<img") == 1


def made_up(tokens: int) -> pd.DataFrame:
    rows = [
        {"layer": layer, "token": token, "piece": f"w{token}", "emotion": emotion}
        for layer in range(3)
        for token in range(1, tokens + 1)
        for emotion in ("fear", "joy")
    ]
    table = pd.DataFrame(rows).assign(model="m", battery="b", n=1, sure=True)
    value = table["layer"] + table["token"] / 100 + 10 * (table["emotion"] == "joy")
    return table.assign(value=value, ci_low=np.nan, ci_high=np.nan)


def test_a_map_has_the_highest_layer_on_top_and_the_last_tokens():
    figure = pictures.token_map(made_up(60), "fear")
    panel = figure.axes[0]
    cells = panel.images[0].get_array()
    assert cells.shape == (3, pictures.MOST_COLUMNS)
    np.testing.assert_allclose(cells[0], 2 + np.arange(13, 61) / 100)
    np.testing.assert_allclose(cells[2], np.arange(13, 61) / 100)
    assert [one.get_text() for one in panel.get_xticklabels()][::47] == ["w13", "w60"]
    assert panel.images[0].get_clim() == (-1.5, 1.5)  # a share of .01 has hardly any colour
    told = " ".join(text.get_text() for text in figure.texts)
    assert "m · battery b · n = 1 text" in told
    assert "first 12 tokens are not" in " ".join(figure._supxlabel.get_text().split())


def test_curves_are_of_the_last_token_and_leave_out_what_has_no_unit():
    table = made_up(4)
    table.loc[(table["emotion"] == "joy") & (table["layer"] == 0), "value"] = np.nan
    lines = {one.get_label(): one for one in pictures.last_token_curves(table).axes[0].lines}
    np.testing.assert_allclose(lines["fear"].get_ydata(), [0.04, 1.04, 2.04])
    assert np.isnan(lines["joy"].get_ydata()[0])
    assert lines["fear"].get_marker() != lines["joy"].get_marker()


def test_what_comes_from_texts_is_text_on_the_page(desk):
    evil = "<img src=x onerror=alert(1)>\u202e"
    assert pieces.told_lines([evil]) == (
        '<p class="told">&lt;img src=x onerror=alert(1)&gt;⟨U+202E⟩</p>'
    )
    assert "<img src=x" not in pieces.told_error(ValueError(evil))
    assert "<img src=x" not in pieces.table_of([{evil: evil}])
    texts = desk.write(TEXT, {}, layer=1, unit="dose")
    row = {**texts.rows[0], "text": evil}
    assert "<img src=x" not in pieces.side_by_side_texts(texts._replace(rows=[row]))


def test_a_direction_comes_as_a_file_that_steer_takes(desk, answers, tmp_path):
    found = answers.file("joy", 2)
    with zipfile.ZipFile(found) as packed:
        packed.extractall(tmp_path / "unpacked")
    (saved,) = (tmp_path / "unpacked").glob("*.safetensors")
    np.testing.assert_array_equal(
        Direction.load(saved).vector, desk.sources[2].directions["joy"].vector
    )
    words = ("--model", desk.wanted.model, "--direction", saved, "--max-new-tokens", 2)
    assert outcome("steer", *words, "--prompt", "she was")[0] == 0
    assert answers.file("glee", 2) is None


def test_a_run_has_its_own_model_form_and_directions(chat_folder, tmp_path, monkeypatch):
    path = matched_pairs.write(tmp_path / "pairs.jsonl")
    run = tmp_path / "run"
    asked = {"model": str(chat_folder), "stimuli": str(path), "out": run, "chat_template": "on"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study.run(
            study.Settings.of(**asked, sites=("resid_post@1", "resid_post@2")),
            stages=["directions"],
        )
    seen = []
    monkeypatch.setattr(door, "serve", lambda answers_in, *_, **__: seen.append(answers_in(run)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert outcome("play", run, "--layer", 1)[0] == 0
        found = seen[0].desk.read(TEXT)
    desk = seen[0].desk
    assert ([*desk.sources], desk.layer, desk.battery) == ([1, 2], 1, "pairs")
    assert desk.model.provenance["chat_template"] is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        known = interp.read(run, TEXT, layer=1)
    pd.testing.assert_frame_equal(found[1].frame, known.frame)
    assert "0 is the mean of the neutral texts" in " ".join(found[1].notes())


def test_a_run_is_taken_whole_and_a_missing_extra_is_named(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    for more, name in (
        (("--direction", "x.safetensors"), "--direction"),
        (("--stimuli", "plain"), "--stimuli"),
        (("--dtype", "bfloat16"), "--dtype"),
    ):
        code, told = outcome("play", run, *more)
        assert (code, f"leave out {name}, or name a model" in told) == (2, True), told
    monkeypatch.setattr(door, "find_spec", lambda name: None)
    assert outcome("play", "planted") == (
        5,
        "the playground needs the extra `play`: pip install 'emotion-interp[play]'.",
    )
