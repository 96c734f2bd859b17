"""The order of a battery's rows changes no number, from the capture's bits to a study's tables."""

import random
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stimuli
from interp import study
from interp.capture import capture
from interp.capture.options import Options
from interp.models import load
from interp.results import read_table
from interp.study.presets import PRESETS, limited
from stimuli.battery import Battery
from test_analysis_order import renamed, shuffled

STAGES = ("probes", "directions", "cosines", "patching", "contributions", "ablation", "steering")
SITES = ("resid_post", "attn_out", "z", "post")


@pytest.fixture(scope="module")
def planted():
    return load("planted", check=False)


@pytest.fixture(scope="module")
def texts() -> Battery:
    """Texts of six lengths, some sixteen of each: nearly every batch begins and ends amid a tie."""
    return replace(stimuli.load("planted"), items=stimuli.load("planted").items[:96])


def bits(model, battery: Battery) -> dict[tuple[str, str, str], bytes]:
    """What a capture in float32 holds of each text, at each site and position."""
    asked = {
        "sites": SITES,
        "positions": ("last_content", "mean_content"),
        "options": Options(token_budget=70),
    }
    with capture(model, battery, **asked) as store:
        return {
            (item, str(site), position): row.tobytes()
            for site in store.sites
            for position in store.positions
            for item, row in zip(store.items, store.read(site, position).x, strict=True)
        }


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_permutation_of_the_rows_changes_no_bit_of_a_capture(planted, texts, seed) -> None:
    assert bits(planted, shuffled(texts, seed)) == bits(planted, texts)


def test_copies_of_one_text_keep_their_bits_too(planted, texts) -> None:
    """Nothing but their ids tells them apart."""
    few = texts.items[:9]
    copies = [replace(item, id=f"{item.id} {n}", pair=None) for item in few for n in "abc"]
    battery = replace(texts, items=tuple(copies))
    assert bits(planted, shuffled(battery, 5)) == bits(planted, battery)


def test_other_ids_change_no_bit_of_a_capture(planted, texts) -> None:
    other = renamed(texts, 3)
    names = dict(zip((item.id for item in other), (item.id for item in texts), strict=True))
    found = {(names[item], *where): row for (item, *where), row in bits(planted, other).items()}
    assert found == bits(planted, texts)


@pytest.mark.parametrize("name", ["plutchik", "planted"])
def test_a_preset_keeps_the_same_texts_in_any_order(name) -> None:
    battery = stimuli.load(name)
    kept = {item.id for item in limited(battery, PRESETS["quick"])}
    assert len(kept) < len(battery)
    assert {item.id for item in limited(shuffled(battery, 7), PRESETS["quick"])} == kept


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_permutation_of_the_rows_changes_no_number_of_a_study(tmp_path) -> None:
    battery = stimuli.load("planted")
    items = list(battery.items)
    found = []
    for seed in (None, 11):
        if seed is not None:
            random.Random(seed).shuffle(items)
        path = stimuli.save(replace(battery, items=tuple(items)), tmp_path / "planted.jsonl")
        out = tmp_path / f"run {seed}"
        asked = study.Settings.of(
            model="planted",
            stimuli=str(path),
            out=out,
            preset="quick",
            positions=("last",),
            sites=SITES,
            emotions=("joy", "fear", "anger"),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            study.run(asked)
        tables = {name: read_table(out / "tables" / f"{name}.csv") for name in STAGES}
        found.append({name: table.drop(columns="run") for name, table in tables.items()})
    for name, table in found[0].items():
        pd.testing.assert_frame_equal(found[1][name], table, check_exact=True, obj=name)
        assert np.isfinite(table["value"]).any()
