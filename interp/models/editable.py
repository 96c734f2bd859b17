"""Sites that can be read and not edited, found by trying them in the first layer."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from interp.sites import Site

Hook = tuple[str, Callable[..., Tensor | None]]
"""A full hook name and what runs there: `fn(tensor, hook)` gives None to read, a tensor to edit."""

Run = Callable[[list[Hook]], Tensor]
"""The logits of a few tokens under hooks."""


def find_read_only(run: Run, *, offers: Callable[[Site], bool]) -> frozenset[str]:
    """Names of sites where an edit is not what the name says.

    - Attention patterns that Hugging Face's module has already used (GPT-Neo): halved, they leave
      the logits as they were.
    - `resid_mid`, where the bridge shows what the MLP's norm reads: what is put there reaches the
      MLP, and not the stream behind it.
    """
    kinds = {"pattern": _pattern_acts, "resid_mid": _mid_acts}
    there = [name for name in kinds if offers(Site(name, 0))]
    return frozenset(name for name in there if not kinds[name](run))


def _pattern_acts(run: Run) -> bool:
    with warnings.catch_warnings():  # the bridge says so too, in words that may change
        warnings.simplefilter("ignore", UserWarning)
        edited = run([(Site("pattern", 0).hook, lambda tensor, hook: tensor * 0.5)])
    return not torch.equal(edited, run([]))


def _mid_acts(run: Run) -> bool:
    """Whether twice resid_mid, and the MLP's output, are the stream behind them."""
    seen: dict[str, Tensor] = {}

    def reader(name: str) -> Hook:
        return Site(name, 0).hook, lambda tensor, hook: seen.__setitem__(name, tensor.float())

    double: Hook = (Site("resid_mid", 0).hook, lambda tensor, hook: tensor * 2)
    names = ("resid_mid", "mlp_out", "resid_post")
    run([double, *map(reader, names)])
    if not all(name in seen and seen[name].ndim == 3 for name in names):
        return False
    apart = seen["resid_mid"] + seen["mlp_out"] - seen["resid_post"]
    return float(apart.abs().max()) < 0.1 * float(seen["resid_mid"].abs().max())
