"""How an edit is put at a site, and sites that can be read and not edited, found by trying them in
the first layer.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interp.sites import Site

Hook = tuple[str, Callable[..., Tensor | None]]
"""A full hook name and what runs there: `fn(tensor, hook)` gives None to read, a tensor to edit."""

Run = Callable[[list[Hook]], Tensor]
"""What a model makes of a few tokens under hooks."""


def edit_hooks(site: Site, change: Callable[..., Tensor | None]) -> list[Hook]:
    """The hooks that make `change` at a site: one there, but for `resid_mid`.

    What the bridge shows as resid_mid is what the norm before the MLP reads. What is put there
    reaches the MLP, and not the stream, which goes around it. So what the change adds is added to
    the stream behind the block, too: resid_post = resid_mid + mlp_out holds of the edited values.
    The hooks must stand before those of others at resid_post, who see the stream as it is then.
    """
    if site.name != "resid_mid":
        return [(site.hook, change)]
    added: list[Tensor] = []

    def edit(tensor: Tensor, hook: Any = None) -> Tensor | None:
        edited = change(tensor, hook)
        added[:] = [] if edited is None else [edited - tensor]
        return edited

    def carry(tensor: Tensor, hook: Any = None) -> Tensor | None:
        return tensor + added.pop().to(tensor.device) if added else None

    return [(site.hook, edit), (Site("resid_post", site.layer).hook, carry)]


def find_read_only(run: Run, *, offers: Callable[[Site], bool]) -> frozenset[str]:
    """Names of sites where an edit is not what the name says. `run` gives the stream behind the
    first block, of a few tokens.

    - Attention patterns that Hugging Face's module has already used (GPT-Neo): halved, they leave
      that stream as it was.
    - `resid_mid`, where the stream behind the block is not what stands there and what the MLP adds
      (as where attention and MLP read the same stream).
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

    double = edit_hooks(Site("resid_mid", 0), lambda tensor, hook: tensor * 2)
    names = ("resid_mid", "mlp_out", "resid_post")
    run([*double, *map(reader, names)])
    if not all(name in seen and seen[name].ndim == 3 for name in names):
        return False
    apart = seen["resid_mid"] + seen["mlp_out"] - seen["resid_post"]
    return float(apart.abs().max()) < 0.1 * float(seen["resid_mid"].abs().max())
