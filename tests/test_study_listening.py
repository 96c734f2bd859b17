"""Contributions are read where the parts that write the emotion stand in front, and something still
stands behind.
"""

import warnings
from types import SimpleNamespace

import pytest

from interp import study
from interp.results import read_tables
from interp.sites import Site
from interp.study import causes
from interp.study.folder import Study
from interp.testbeds import planted
from stimuli.battery import Pairs

TRUTH = planted.truth(planted.SPECS["planted"])
LAYERS = tuple(Site("resid_post", layer) for layer in range(4))


@pytest.fixture
def a_study() -> Study:
    found = object.__new__(Study)
    limits = SimpleNamespace(patched_layers=None)
    found.settings, found.chosen = SimpleNamespace(limits=limits), {}
    return found


@pytest.mark.parametrize(
    ("back", "read"),
    [
        ([1.0, 0.9, 0.8, 0.02], 2),  # the rest does not listen to the last one
        ([0.2, 0.09, 0.15, 0.11], 3),  # half of the most, wherever that is, and behind a lower one
        ([1.0, 0.4, 0.3, 0.2], 0),
        ([-0.1, -0.2, 0.0, -0.3], 2),  # nothing is brought back: the middle one
        ([], 2),  # it cannot be asked: the middle one
    ],
)
def test_it_is_the_last_layer_to_which_the_rest_listens(back, read, a_study, monkeypatch):
    monkeypatch.setattr(causes, "saturated_layers", lambda *_: LAYERS)
    told = dict(zip(LAYERS, back, strict=False))
    monkeypatch.setattr(causes, "_brought_back", lambda study, pairs, sites: told)
    assert causes.listening_site(a_study, Pairs([])) == LAYERS[read]


def test_one_layer_alone_is_not_asked_about(a_study, monkeypatch):
    monkeypatch.setattr(causes, "saturated_layers", lambda *_: (LAYERS[1],))
    monkeypatch.setattr(causes, "_brought_back", None)
    assert causes.listening_site(a_study, Pairs([])) == LAYERS[1]


def test_a_model_without_words_for_the_emotions_is_not_asked(a_study, monkeypatch):
    a_study.__dict__["conditions"] = SimpleNamespace(closed={"readout": "it has no words."})
    monkeypatch.setattr(causes, "patch_pairs", None)
    assert causes._brought_back(a_study, Pairs([]), LAYERS) == {}


def test_a_layer_that_no_other_reads_is_not_taken_on_storyworld(tmp_path):
    """Its last layer tells twins apart, and a patch there moves nothing."""
    asked = study.Settings(
        model="storyworld", stimuli="storyworld", out=tmp_path / "run", preset="quick"
    )
    seen = []

    def noted(of, pairs):
        seen.append((saturated_layers(of, pairs), listening_site(of, pairs)))
        return seen[-1][1]

    saturated_layers, listening_site = causes.saturated_layers, causes.listening_site
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        patch.setattr(causes, "listening_site", noted)
        study.run(asked, stages=["contributions", "ablation"])
    assert {found[-1].layer for found, _ in seen} == {5}
    assert {site.layer for _, site in seen} == {4}
    for table in read_tables(asked.out, ["contributions", "ablation"]).values():
        assert set(table["direction_layer"]) == {4}


def first_neurons(out) -> dict[str, tuple[int, int]]:
    """The neuron of each emotion that a study of `planted` ranks first."""
    asked = study.Settings(model="planted", stimuli="planted", out=out, preset="quick")
    study.run(asked, stages=["contributions"])
    table = read_tables(out, ["contributions"])["contributions"]
    rows = table[(table["component"] == "neuron") & (table["rank"] == 1)]
    found = rows.drop_duplicates("emotion").set_index("emotion")
    return {str(one): (int(row["layer"]), int(row["index"])) for one, row in found.iterrows()}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_neurons_that_carry_the_emotion_are_seen_there_and_not_at_the_first(
    tmp_path, monkeypatch
):
    found = first_neurons(tmp_path / "middle")
    assert found == {one: TRUTH.neurons[one][0] for one in TRUTH.emotions}
    monkeypatch.setattr(causes, "listening_site", causes.choose_site)
    before = first_neurons(tmp_path / "first")
    assert {layer for layer, _ in before.values()}.isdisjoint({TRUTH.neuron_layer})
