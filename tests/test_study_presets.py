"""Presets: what each leaves out is what it says, and a small model loses nothing to `standard`."""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from click.testing import CliRunner

import stimuli
from interp.causal.pooled import gain_rows
from interp.chance import draws_for, least_strata_p, strata_p
from interp.cli import cli
from interp.errors import UsageError
from interp.models import load
from interp.reporting.report import write_report
from interp.sites import Site
from interp.study import Settings, causes
from interp.study.folder import Study
from interp.study.presets import PRESETS, THINNED, left_out, limited, spaced
from interp.study.settings import DEFAULT_SITES
from stimuli.battery import Pairs
from support.commands import outcome


@pytest.fixture(scope="module")
def plutchik():
    return stimuli.load("plutchik")


@pytest.mark.parametrize(
    ("n_layers", "most", "expected"),
    [
        (30, 6, (0, 6, 12, 17, 23, 29)),
        (4, 12, (0, 1, 2, 3)),
        (3, None, (0, 1, 2)),
        (12, 12, tuple(range(12))),
    ],
)
def test_layers_are_evenly_spaced_and_hold_both_ends(n_layers, most, expected):
    assert spaced(n_layers, most) == expected


def test_quick_keeps_so_many_scenarios_of_each_emotion_and_their_twins(plutchik):
    kept = limited(plutchik, PRESETS["quick"])
    pairs = kept.pairs()
    assert len(kept) == 2 * len(pairs)
    for emotion in plutchik.emotions:
        assert (
            len({pair.affective.group for pair in pairs if pair.affective.emotion == emotion}) == 12
        )
    order = [item.id for item in plutchik]
    assert [item.id for item in kept] == sorted((item.id for item in kept), key=order.index)


@pytest.mark.parametrize("name", ["standard", "full"])
def test_the_others_keep_every_text(plutchik, name):
    assert limited(plutchik, PRESETS[name]) is plutchik


def test_a_battery_without_twins_is_kept_whole(plutchik):
    alone = replace(plutchik, items=tuple(replace(item, pair=None) for item in plutchik))
    assert limited(alone, PRESETS["quick"]) is alone


def test_full_leaves_nothing_out_and_the_others_say_what(plutchik):
    assert left_out(PRESETS["full"], plutchik, 30) == []
    told = " ".join(left_out(PRESETS["quick"], plutchik, 30))
    for phrase in (
        "of 960 texts",
        "24 of 30 layers of resid_pre",
        "24 of 30 layers in patching",
        "more than 2 of the layers that tell twins apart",
        "alone is never below 1/7",
        "4 of 8 pairs per emotion",
        "the stage circuit (`interp circuit` runs it)",
    ):
        assert phrase in told
    assert "layers" not in " ".join(left_out(PRESETS["standard"], plutchik, 4))
    told = " ".join(left_out(PRESETS["standard"], plutchik, 8))
    assert "2 of 8 layers in patching" in told
    assert "layers of" not in told


def test_the_layers_that_are_patched_are_those_of_the_preset():
    assert PRESETS["standard"].sites_patched(30)[0] == "attn_out@0,6,12,17,23,29"
    assert PRESETS["full"].sites_patched(3) == tuple(
        f"{name}@0,1,2" for name in ("attn_out", "mlp_out", "resid_post")
    )
    few = replace(PRESETS["quick"], patched_layers=2)
    assert few.sites_patched(30) == ("resid_post@0,29",)


@pytest.mark.parametrize(("most", "expected"), [(2, [0, 0, 5, 5]), (None, sorted([*range(6)] * 2))])
def test_steering_tries_so_many_of_the_layers_that_tell_twins_apart(monkeypatch, most, expected):
    """Each at the last token alone and at all from there."""
    sites = tuple(Site("resid_post", layer) for layer in range(6))
    made = Mock(
        Study,
        emotions=("joy", "fear"),
        readout=SimpleNamespace(emotions=("joy",)),
        settings=SimpleNamespace(limits=replace(PRESETS["standard"], steered_layers=most)),
    )
    monkeypatch.setattr(causes, "saturated_layers", lambda *_: sites)
    monkeypatch.setattr(causes, "fit_direction", lambda study, pairs, emotion, site: site)
    places = causes.steering_places(made, Pairs(()))
    assert [place.directions["joy"].layer for place in places] == expected
    assert {place.where for place in places} == {("last",), ("last", "generated")}
    assert [[*place.directions] for place in places] == [["joy"]] * len(expected)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("n_emotions", range(1, 9))
def test_a_p_of_all_emotions_can_reach_a_hundredth_or_says_how_small_it_can_be(name, n_emotions):
    """Ablation: draws are added until it can. Steering: by dealing emotions, or by a random
    direction per prompt.
    """
    preset = PRESETS[name]
    draws = [max(preset.draws, draws_for(n_emotions))] * n_emotions
    assert least_strata_p(draws) <= 0.01 + 1e-12
    # drawn itself: binomial error .001
    assert strata_p(np.ones(n_emotions), [np.zeros(n) for n in draws]) <= 0.015
    random = np.random.default_rng(0).normal(size=(n_emotions, preset.prompts, n_emotions))
    own = random + 9 * np.eye(n_emotions)[:, None, :]
    row = gain_rows({("", 1.0): own, ("random", 1.0): random}, np.arange(preset.prompts))[0]
    assert row["p"] == pytest.approx(row["least_p"], abs=0.005)
    assert (row["least_p"] <= 0.01) == (n_emotions not in (1, 4))


def test_sites_are_thinned_by_the_preset_unless_they_were_named(tiny_folder, tmp_path):
    model = load(str(tiny_folder("llama")), check=False)
    asked = {"model": "x", "stimuli": "planted", "out": tmp_path}
    assert {site.name for site in Settings(**asked).sites_of(model)} == set(DEFAULT_SITES)
    few = replace(PRESETS["quick"], layers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "quick", few)
        sites = Settings(**asked, preset="quick").sites_of(model)
        named = Settings(**asked, preset="quick", sites=("attn_out",)).sites_of(model)
    layers = {name: [site.layer for site in sites if site.name == name] for name in DEFAULT_SITES}
    assert layers == {name: [0, 2] if name in THINNED else [0, 1, 2] for name in DEFAULT_SITES}
    assert [site.layer for site in named] == [0, 1, 2]


def test_an_unknown_preset_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(UsageError, match="quick, standard, full"):
        Settings(model="planted", stimuli="planted", out=tmp_path / "run", preset="fast")
    assert (
        outcome(
            "run",
            "--model",
            "planted",
            "--stimuli",
            "planted",
            "--out",
            tmp_path / "run",
            "--preset",
            "fast",
        )[0]
        == 2
    )
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_what_the_preset_means(tmp_path):
    result = CliRunner().invoke(
        cli,
        [
            "run",
            "--model",
            "planted",
            "--stimuli",
            "planted",
            "--out",
            str(tmp_path / "run"),
            "--preset",
            "quick",
            "--dry-run",
        ],
    )
    told = " ".join(result.output.split())
    for phrase in (
        "preset quick",
        "scenarios 12",
        "draws 6",
        "patched resid_post",
        "left out by the preset",
    ):
        assert phrase in told


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # the study tells what it met
def test_a_quick_study_runs_and_its_report_tells_what_was_left_out(tmp_path):
    code, _ = outcome(
        "run",
        "--model",
        "planted",
        "--stimuli",
        "planted",
        "--out",
        tmp_path / "run",
        "--preset",
        "quick",
        "--positions",
        "last",
        "--sites",
        "resid_post,z,post",
    )
    assert code == 0
    assert not (tmp_path / "run" / "tables" / "circuit.csv").exists()
    page = write_report(tmp_path / "run").read_text()
    assert "What the preset quick left out" in page
    assert "the stage circuit" in page
    assert "alone is never below 1/7" in page
    code, told = outcome(
        "run",
        "--model",
        "planted",
        "--stimuli",
        "planted",
        "--out",
        tmp_path / "run",
        "--preset",
        "standard",
    )
    assert code == 4
    assert "preset: 'quick' there, 'standard' now" in told
