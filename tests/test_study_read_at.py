"""Contributions are read where the parts that write the emotion stand in front, and something still
stands behind.
"""

import pytest

from interp import study
from interp.results import read_tables
from interp.sites import Site
from interp.study import causes
from interp.study.folder import Study
from interp.testbeds import planted
from stimuli.battery import Pairs

TRUTH = planted.truth(planted.SPECS["planted"])
LAYERS = [Site("resid_post", layer) for layer in range(8)]


@pytest.mark.parametrize(("n", "middle"), [(1, 0), (2, 1), (3, 1), (4, 2), (8, 4)])
def test_it_is_the_middle_one_of_the_layers_that_tell_twins_apart(n, middle, monkeypatch):
    monkeypatch.setattr(causes, "saturated_layers", lambda *_: tuple(LAYERS[:n]))
    assert causes.read_at(object.__new__(Study), Pairs([])) == LAYERS[middle]


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
    monkeypatch.setattr(causes, "read_at", causes.choose_site)
    before = first_neurons(tmp_path / "first")
    assert {layer for layer, _ in before.values()}.isdisjoint({TRUTH.neuron_layer})
