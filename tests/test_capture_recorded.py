"""Gathering: pieces that come one after another stand in one block as if they had been joined at
the end.
"""

import numpy as np
import pytest

from interp.capture.options import Options
from interp.capture.plan import make_plan
from interp.capture.recording.gathering import Gathering, Recorded
from interp.capture.store.shard import is_ragged
from interp.errors import InternalError
from support.capture_cases import FEW, battery


@pytest.fixture
def plan(llama):
    return make_plan(llama, battery(), sites=FEW, positions=("last", "all"), options=Options())


def piece(plan, places, rng) -> Recorded:
    """Random values of the shapes that the texts at `places` have."""
    tokens = sum(len(plan.texts[place].tokens) for place in places)
    names = [f"{site}/{rule}" for site in plan.sites for rule in plan.positions]
    tail = {name: (4, 8) if "hook_z" in name else (32,) for name in names}
    arrays = {
        n: rng.normal(size=(tokens if is_ragged(n) else len(places), *tail[n])).astype(np.float32)
        for n in names
    }
    ids = [plan.texts[place].id for place in places]
    return Recorded(list(places), arrays, [(len(places), 9)], [{"id": ids[0]}], ids[1:])


def test_pieces_stand_as_if_they_had_been_joined(plan):
    rng = np.random.default_rng(0)
    batches = [[3, 0], [7], [1, 2, 11]]
    pieces = [piece(plan, places, rng) for places in batches]
    gathering = Gathering(plan, [place for places in batches for place in places])
    for part in pieces:
        gathering.add(part)
    shard = gathering.shard()
    assert shard.places.tolist() == gathering.places == [3, 0, 7, 1, 2, 11]
    for name, array in shard.arrays.items():
        np.testing.assert_array_equal(array, np.concatenate([part.arrays[name] for part in pieces]))
    assert len({id(array.base) for array in shard.arrays.values()}) == 1
    assert shard.tokens.tolist() == [
        token for place in gathering.places for token in plan.texts[place].tokens
    ]
    ends = np.cumsum(shard.lengths)
    assert np.flatnonzero(shard.chosen["last"]).tolist() == (ends - 1).tolist()
    assert gathering.shapes == [(2, 9), (1, 9), (3, 9)]
    assert [row["id"] for row in gathering.refused] == [plan.texts[place].id for place in (3, 7, 1)]
    assert gathering.reused == [plan.texts[place].id for place in (0, 2, 11)]


def test_rows_that_are_missing_are_never_made_up(plan):
    """The room is memory that nobody has written: a row left out would read as whatever was
    there.
    """
    for spoil in (
        lambda name, x: x[:-1] if "hook_z" in name else x,
        lambda name, x: None if "hook_z" in name else x,
    ):
        gathering = Gathering(plan, [3, 0, 7])
        gathering.add(piece(plan, [7], np.random.default_rng(0)))
        part = piece(plan, [3, 0], np.random.default_rng(0))
        part.arrays = {
            name: y for name, x in part.arrays.items() if (y := spoil(name, x)) is not None
        }
        with pytest.raises(InternalError, match="hook_z/"):
            gathering.add(part)


def test_of_a_shard_cut_short_only_what_came_is_there(plan):
    part = piece(plan, [5, 4], np.random.default_rng(1))
    gathering = Gathering(plan, [5, 4, 9, 8])
    gathering.add(part)
    shard = gathering.shard()
    assert {name: array.shape for name, array in shard.arrays.items()} == {
        n: a.shape for n, a in part.arrays.items()
    }
    assert all(np.array_equal(array, part.arrays[name]) for name, array in shard.arrays.items())
