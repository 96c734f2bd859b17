"""The command `interp patch` with every option of its own: its table, findings and figures; and a
span that the battery lacks, refused before anything is made.
"""

from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from interp.causal.patches import Patches
from interp.reporting import draw_all
from interp.reporting.decisions import Verdict
from interp.reporting.figures import draw
from interp.reporting.findings import findings
from interp.results import read_table
from interp.study import causes
from interp.study.folder import Study
from interp.study.presets import PRESETS, find_preset, left_out
from interp.testbeds import planted
from stimuli.battery import Battery, Pairs
from support.commands import outcome

SPEC = planted.SPECS["planted"]
ASKED = ("--model", "planted", "--stimuli", "planted", "--preset", "quick", "--sites", "resid_post")


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    out = tmp_path_factory.mktemp("patches") / "run"
    code, text = outcome(
        "patch", *ASKED, "--out", out, "--emotions", "joy,fear,anger", "--patch-modes",
        "denoise,swap", "--patch-positions", "last,first", "--patch-controls",
        "other_emotion", "--patch-metrics", "kl,kl_target,success,copy",
    )  # fmt: skip
    assert code == 0, text
    return read_table(out / "tables" / "patching.csv")


def test_the_command_patches_as_it_was_asked(patched):
    assert set(patched["mode"]) == {"denoise", "swap"}
    assert set(patched.position) == {"", "last", "first"}
    assert set(patched.control) == {"", "other_emotion"}
    told = {"kl", "kl_target", "success", "copy_success", "copy_restoration", "restoration_others"}
    assert told <= set(patched.metric)
    matrix = patched[(patched["mode"] == "swap") & ~patched.target.isin(["all"])]
    assert set(matrix.target) == {"joy", "fear", "anger"}
    assert set(matrix.metric) == {"success", "logit_diff_target"}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_embeddings_are_patched_where_the_preset_says_so(monkeypatch, preset):
    limits, asked = find_preset(preset), []
    made = Mock(
        Study,
        settings=SimpleNamespace(
            limits=limits, seed=0, patches=lambda sites: Patches(sites=sites, modes=("denoise",))
        ),
        readout=SimpleNamespace(readout=None),
        model=SimpleNamespace(dims=SimpleNamespace(n_layers=30)),
        pairs=Pairs(()),
    )
    monkeypatch.setattr(causes, "asked_pairs", lambda *_, **__: Pairs(()))

    def patch(model, pairs, readout, patches, *, seed, before):
        asked.append(patches)
        before(np.zeros(0))  # told of the effects, it warns before anything is patched
        return []

    monkeypatch.setattr(causes, "patch_pairs", patch)
    monkeypatch.setattr(causes.power, "doubt", lambda effects, pairs, seed: "too few pairs")
    with pytest.warns(UserWarning, match="too few pairs"):
        causes.patching(made)
    (patches,) = asked
    assert ("resid_pre@0" in patches.sites) == limits.embeddings == (preset == "full")
    told = left_out(limits, Battery("b", ()), 30)
    assert any("kinds of sites in patching" in one for one in told) == (preset != "full")


def test_what_is_said_of_swaps_is_decided_by_the_rules(patched):
    found = {one.what: one for one in findings({"patching": patched})}
    own = found["patching between emotions moves the answer to the source's own emotion"]
    assert own.verdict is Verdict.FOUND
    assert own.estimate == pytest.approx(1, abs=0.02)
    assert own.rival("other").estimate < 0
    assert "put into a text of another, brings this share of the own words' lead" in own.sentence
    assert "patching at last, denoise restores the readout's difference" in found
    assert not [what for what in found if "first" in what]
    blunt = patched.assign(
        metric=patched.metric.str.replace(r".*restoration_others", "kl", regex=True)
    )
    apart = {one.what: one for one in findings({"patching": blunt})}
    none = apart["the readout tells texts of different emotions apart"]
    assert none.verdict is Verdict.NOT_FOUND


def test_the_figure_of_swaps_is_a_matrix_by_layer_with_chance_and_n(patched):
    figure = draw("emotion_swaps", patched)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 4
    last = panels[-1].images[0].get_array()
    assert last.shape == (3, 3)
    assert last.mask.diagonal().all()
    assert (last.compressed() == 1).all()
    assert panels[-1].get_title(loc="left") == "layer 3: mean 1.00, a third emotion's text 0.00"
    assert panels[0].get_title(loc="left").startswith("layer 0: mean 0.00")
    written = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "An answer drawn at random would be it in 0.33" in written
    assert "All layers exchanged at once move 1.00" in written
    assert "texts per cell" in written
    bar = panels[0].images[0].colorbar
    assert bar.ax.get_ylim() == (0, 1)


def test_each_figure_is_drawn_where_its_rows_are(patched, tmp_path):
    twins = draw("patching_curves", patched)
    named = {text.get_text() for text in twins.legends[0].get_texts()}
    assert {"last", "last, another emotion", "first"} <= named
    assert "Dotted" not in " ".join(text.get_text() for text in twins.texts)
    swaps, told = patched[patched["mode"] == "swap"], []
    written = draw_all({"patching": swaps}, tmp_path, kinds=("svg",), say=told.append)
    assert [path.stem for path in written] == ["emotion_swaps"]
    assert findings({"patching": swaps})[0].stage == "patching"
    assert len(findings({"patching": swaps})) == 1


def test_a_span_that_the_battery_lacks_is_refused_before_anything_is_made(tmp_path):
    words = (*ASKED, "--out", tmp_path / "run", "--patch-positions", "span(nowhere)")
    code, text = outcome("patch", *words)
    assert (code, (tmp_path / "run").exists()) == (3, False)
    assert "has no field 'nowhere' for span(nowhere)" in text
    code, text = outcome("patch", *ASKED, "--out", tmp_path / "run", "--patch-modes", "swop")
    assert (code, (tmp_path / "run").exists()) == (2, False)
    assert "unknown mode 'swop': choose from denoise, noise, swap" in text
