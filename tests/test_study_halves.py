"""What a stage chooses by, and what it tells of: never the same scenarios.

The stages are given a study whose model and methods only take down which scenarios they were asked
about.
"""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from interp.causal.circuits import Searched
from interp.sites import Site
from interp.study import attribution, causes, circuits
from interp.study.folder import Study
from interp.study.presets import PRESETS
from interp.testbeds import planted
from stimuli.battery import Pairs
from support.given_directions import given

SPEC = planted.SPECS["planted"]
SITE = Site("resid_post", 1)


class Heard(dict[str, set[str]]):
    """The scenarios that were met, by what they were met for."""

    def note(self, what: str, groups) -> None:
        self.setdefault(what, set()).update(map(str, groups))


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return Pairs(pair for pair in planted.stimuli(SPEC, n=6).pairs())


@pytest.fixture
def study(pairs):
    few = {"draws": 5, "ks": (1,), "prompts": 8, "pairs": 4, "scales": (1.0,), "tried": 2}
    limits = replace(PRESETS["quick"], **few, patched=())
    settings = SimpleNamespace(
        dtype_error=False,
        seed=3,
        limits=limits,
        ablate_with="zero",
        judge=(),
        attribute_with="attribution",
        steps=2,
    )
    emotions = pairs.emotions
    readout = SimpleNamespace(readout="words", emotions=emotions)
    items = [item for pair in pairs for item in pair]
    return Mock(
        Study,
        model=SimpleNamespace(dims=SimpleNamespace(n_layers=4)),
        pairs=pairs,
        emotions=emotions,
        settings=settings,
        readout=readout,
        row_of={item.id: row for row, item in enumerate(items)},
        position="last_content",
        chosen={},
        unheard=lambda sites: sites[0],
        beside={},
    )


@pytest.fixture
def heard(monkeypatch) -> Heard:
    """What fits and ranks is noted as choosing; what measures as telling."""
    found = Heard()

    def fitted(study, pairs, emotion, site):
        found.note("choose", pairs.groups)
        return given(np.eye(4)[0], SITE, 1.0, {})

    def ranked_by(model, activations, twins, direction, *, top, report):
        found.note("choose", twins.groups)
        found.note("tell", () if report is None else report.groups)
        return []

    def measured(model, pairs, directions, readout):
        found.note("tell", (pair.affective.group for pair in pairs))

    def prompted(model, prompts, *_, **__):
        found.note("tell", (item.group for item in prompts))
        return SimpleNamespace(rows=[], texts=[])

    stands_in = {
        "fit_direction": fitted,
        "choose_site": lambda study, pairs: found.note("choose", pairs.groups) or SITE,
        "saturated_layers": lambda study, pairs: found.note("choose", pairs.groups) or (SITE,) * 2,
        "_brought_back": lambda study, pairs, sites: found.note("choose", pairs.groups) or {},
        "contribution_rows": ranked_by,
        "ranked": lambda rows, *, component, emotion: ["a part"],
        "_contributing": lambda study, layers: [],
        "Bench": measured,
        "ablate": lambda *_, **__: [],
        "dose_response": lambda *given, **how: prompted(*given, **how).rows,
        "judges_of": lambda *_: {"a judge": None},
        "sweep": prompted,
        "_agreement": lambda *_: [],
    }
    for name, stub in stands_in.items():
        monkeypatch.setattr(causes, name, stub)
    return found


def scenarios(half) -> set[str]:
    return {pair.affective.group for pair in half}


def check(heard: Heard, pairs: Pairs) -> None:
    choose, report = map(scenarios, pairs.split(seed=3))
    assert heard["choose"] <= choose
    assert heard["tell"] <= report
    assert heard["choose"]
    assert heard["tell"]
    assert not choose & report


@pytest.mark.parametrize("stage", ["contributions", "ablation", "steering"])
def test_what_is_chosen_on_one_half_is_told_of_the_other(stage, study, heard, pairs):
    getattr(causes, stage)(study)
    check(heard, pairs)


def test_nodes_are_ranked_by_one_half_and_told_of_the_other(study, heard, pairs, monkeypatch):
    def attributed(model, halves, readout, asked, *, seed):
        for what, half in zip(("choose", "tell"), halves, strict=True):
            heard.note(what, scenarios(half))
        return []

    monkeypatch.setattr(attribution, "attribute_pairs", attributed)
    attribution.attribution(study)
    check(heard, pairs)


def test_circuits_are_found_in_one_half_and_measured_in_the_other(pairs, monkeypatch):
    heard = Heard()

    def found(model, activations, twins, neutral, **_):
        heard.note("choose", twins.groups)
        heard.note("choose", (item.group for item in neutral))
        return Mock(Searched, circuit="a circuit")

    def worth(searched, choosing, reported, trial):
        heard.note("choose", scenarios(choosing))
        heard.note("tell", scenarios(reported))
        return {}

    def of(measured, groups):
        heard.note("tell", (one for mine in groups.values() for one in mine))
        return [], []

    stands_in = {
        "circuit_sites": lambda model: ([SITE], ""),
        "search": found,
        "bench_of": lambda model, half, searched, readout: half,
        "scored_circuit": worth,
        "faithfulness_rows": of,
        "search_rows": lambda one: [],
        "overlap_rows": lambda *_, **__: [],
    }
    for name, stub in stands_in.items():
        monkeypatch.setattr(circuits, name, stub)
    rows = {item.id: row for row, pair in enumerate(pairs) for item in pair}
    model = SimpleNamespace(dims=SimpleNamespace(n_heads=4, d_mlp=8))
    material = circuits.Material(model, pairs, lambda site: np.zeros(1), rows, None, "b", 3)
    searched = circuits.search_all(material, pairs.emotions)
    trial = circuits.FaithfulnessTrial(draws=2)
    circuits.influence_of(material, searched, [trial], n_pairs=2)
    check(heard, pairs)
