"""What is alive in memory does not grow with the number of batches or passes."""

import gc

import numpy as np
import pytest
import torch

from interp.capture import capture
from interp.capture.options import Options
from interp.capture.recording import recorder
from interp.causal import patched_runs, patching, sources
from interp.causal.readout import Readout
from interp.models import LanguageModel
from stimuli.battery import Pair, Stimulus
from support.capture_cases import battery, write_store
from support.matched_pairs import rows
from test_causal_patching import SUFFIX, WORDS

EARLY, LATE = 5, 53
"""Numbers of batches: both the first of their shards, which are of four."""


def alive() -> tuple[int, int]:
    """How many tensors there are, and the bytes that they and numpy's arrays hold, as far as any
    object refers to them.
    """
    gc.collect()
    tracked = gc.get_objects()
    tensors = [one for one in tracked if issubclass(type(one), torch.Tensor)]
    held = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}
    for one in gc.get_referents(*tracked):
        if type(one) is np.ndarray:
            while isinstance(one.base, np.ndarray):
                one = one.base  # what a view looks at
            held[id(one)] = one.nbytes
    return len(tensors), sum(held.values())


class Looking:
    """Counts calls of a function, and looks at what is alive at some of them."""

    def __init__(self, inner, at, keep=False):
        self.inner, self.at = inner, at
        self.calls, self.found, self.kept = 0, {}, [] if keep else None

    def __call__(self, *args, **how):
        self.calls += 1
        if self.calls in self.at:
            self.found[self.calls] = alive()
        result = self.inner(*args, **how)
        if self.kept is not None:
            self.kept.append(result)
        return result


@pytest.mark.parametrize("leak", [False, True], ids=["as it is", "with a leak"])
def test_a_capture_holds_no_more_after_fifty_batches(llama, tmp_path, monkeypatch, leak):
    launch = Looking(recorder.launch, (EARLY, LATE), keep=leak)
    monkeypatch.setattr(recorder, "launch", launch)
    asked = {
        "sites": ("resid_post", "z", "post"),
        "options": Options(token_budget=30, shard_batches=4),
    }
    capture(llama, battery(60), out=tmp_path / "run", **asked).close()
    assert launch.calls > LATE
    (early, late) = (launch.found[number] for number in (EARLY, LATE))
    grown = late[1] - early[1]
    if leak:  # the test can fail
        assert grown > 100_000
    else:
        assert late[0] <= early[0]
        assert grown < 40_000  # the later texts are shorter, so that a shard has more of them


def pairs(n):
    """The first `n` twins, as patching takes them."""
    found = rows(n)
    arms = ("keyword_free", "neutral")

    def item(at, row):
        return Stimulus(row["id"], row["text"], row["emotion"], arms[at % 2], row["pair"])

    made = [item(at, row) for at, row in enumerate(found)]
    return [Pair(*made[at : at + 2]) for at in range(0, len(made), 2)]


def test_patching_holds_no_more_late_than_early(llama, monkeypatch):
    """A pass in a batch of twins early on, and the same one of a batch far behind it, where there
    is no room to keep what was read of the sources.
    """
    monkeypatch.setattr(patched_runs, "prefix_tokens", lambda model: 60)
    monkeypatch.setattr(sources, "SOURCE_BYTES", 0)
    twins = pairs(24)
    count = Looking(LanguageModel._run, ())
    monkeypatch.setattr(LanguageModel, "_run", lambda *args, **how: count(*args, **how))
    asked = patching.Patches(positions=("last",), modes=("denoise",))
    readout = Readout({emotion: WORDS[emotion] for emotion in ("joy", "fear")}, SUFFIX)
    mine = [pair for pair in twins if pair.affective.emotion in ("joy", "fear")]
    patching.patch_pairs(llama, mine, readout, asked)
    count.calls, whole = 0, count.calls
    patching.patch_pairs(llama, mine, readout, asked)
    passes, n_batches = count.calls, len(mine) // 2
    each = passes // n_batches
    assert each * n_batches == passes <= whole  # all batches are alike
    assert n_batches > 4
    count.calls, count.at = 0, (each + 3, passes - each + 3)
    patching.patch_pairs(llama, mine, readout, asked)
    early, late = count.found.values()
    assert late[0] <= early[0]
    assert late[1] <= early[1] + 20_000  # the scores of all cases are gathered


def test_a_store_that_was_closed_holds_nothing(llama, tmp_path):
    write_store(llama, tmp_path / "warm").close()
    before = alive()
    for number in range(3):
        write_store(llama, tmp_path / str(number)).close()
    after = alive()
    assert after[0] <= before[0]
    assert after[1] <= before[1] + 50_000
