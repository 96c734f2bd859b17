"""The probe: a few rows of random tokens that every check of a model runs, and how its answers are
held against each other.

Tokens are the same each time: what is checked does not depend on what a text says.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp.errors import InterpError, UsageError
from interp.models.editable import Hook
from interp.models.language_model import LanguageModel
from interp.models.quiet import first_line
from interp.models.texts.tokens import Batch
from interp.sites import SITE_NAMES, Site

TOLERANCE = {
    torch.float32: 1e-5,
    torch.float16: 9e-4,
    torch.bfloat16: 7e-3,
    torch.float8_e4m3fn: 1e-1,
}
"""Largest relative difference between two ways to compute one activation, by precision. The last is
for quantised models, where the scale of a product may depend on what else is in the batch.
"""

LOST = 1e-1
"""No bound is above this: a mask, a position or a cache that is lost makes an error of about 1."""

ROUNDINGS = 2.0
"""How far two passes may differ, in movements that one rounding of the embedding makes. Measured on
eight of the families of `interp.testbeds.families` in bfloat16 and four in float32: at most 1.0.
"""

LENGTHS = (11, 7, 4)
"""Lengths of the probe's rows: unequal, so that each batch of them holds padding."""


class Gap(NamedTuple):
    """Two ways to say one thing: their largest difference relative to the largest magnitude of the
    second, and what each says where they differ most.
    """

    error: float
    found: str
    expected: str


SAME = Gap(0.0, "", "")


def gap(found: Tensor, expected: Tensor) -> Gap:
    """How far `found` is from `expected`; infinitely where anything is not finite."""
    found, expected = found.detach().float(), expected.detach().to(found.device).float()
    apart = (found - expected).abs()
    if not torch.isfinite(apart).all():
        return Gap(float("inf"), "a number that is not finite", "a finite one")
    worst = int(apart.argmax())
    largest = expected.abs().max().clamp(min=1e-30)
    told = [f"{float(x.flatten()[worst]):.4g}" for x in (found, expected)]
    return Gap(float(apart.max() / largest), told[0], told[1])


def widest(gaps: Sequence[Gap]) -> Gap:
    """The gap with the largest error."""
    return max(gaps, key=lambda one: one.error, default=SAME)


def probe_tokens(model: LanguageModel) -> list[list[int]]:
    """Rows of token ids, the longest first."""
    draw = torch.Generator().manual_seed(0)
    lengths = [min(length, model.dims.n_ctx) for length in LENGTHS]
    return [torch.randint(model.dims.d_vocab, (n,), generator=draw).tolist() for n in lengths]


def offered(model: LanguageModel, layers: Sequence[int]) -> list[Site]:
    """All sites that the model has at `layers`."""
    sites = [Site(name, layer) for layer in layers for name in SITE_NAMES]
    return [site for site in sites if model.offers(site)]


Seen = dict[Site, Tensor]


def record_sites(
    model: LanguageModel,
    batch: Batch,
    sites: Sequence[Site],
    *,
    edits: Sequence[Hook] = (),
) -> tuple[Seen, Tensor]:
    """What passes each site under `edits`, and the logits; a site that is never passed is missing.

    Raises `UsageError` for a model whose bridge does not run at all.
    """
    seen: Seen = {}

    def reader(site: Site) -> tuple[str, Callable[..., None]]:
        def read(tensor: Tensor, hook: Any) -> None:
            seen[site] = tensor.detach().to(model.device)

        return site.hook, read

    try:
        logits = model.forward(batch, hooks=[*edits, *map(reader, sites)])
    except (torch.OutOfMemoryError, InterpError):
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise does_not_run(model.name, error) from error
    return seen, logits


def does_not_run(name: str, error: Exception) -> UsageError:
    """The error for a model that TransformerLens takes apart and cannot run."""
    said = first_line(error).split(". ")[0]
    return UsageError(
        f"{name} does not run under TransformerLens's bridge ({type(error).__name__}: {said}), so "
        "nothing in it can be read. Another version of transformer-lens may run it."
    )


def exact_bound(model: LanguageModel) -> float:
    """How far two ways to compute one activation from the same numbers may differ."""
    return TOLERANCE[model.precision]


def pass_bound(model: LanguageModel, moved: float = 0.0) -> float:
    """How far two passes through the whole model may differ, which round differently on the way.

    Some models enlarge what a rounding does. How much this one does is measured: the embedding is
    moved by one rounding, and the logits tell what came of it; or more came of it in the passes
    that are compared (`moved`). `ROUNDINGS` times that is allowed, or `TOLERANCE` where that is
    more, and never more than `LOST`.
    """
    if model.precision == torch.float8_e4m3fn:
        return TOLERANCE[model.precision]
    if model.rounding is None:
        batch = model.pad(probe_tokens(model)[:1])
        _, clean = record_sites(model, batch, [])
        model.rounding = gap(
            record_sites(model, batch, [], edits=[rounding(model)])[1], clean
        ).error
    largest = max(model.rounding, moved)
    return max(TOLERANCE[model.precision], min(ROUNDINGS * largest, LOST))


def rounding(model: LanguageModel) -> Hook:
    """A hook that moves every number of the embedding by one rounding, up or down."""
    draw = torch.Generator().manual_seed(4)
    step = torch.finfo(model.precision).eps / 2

    def move(tensor: Tensor, hook: Any) -> Tensor:
        sign = torch.randint(2, tensor.shape, generator=draw).to(tensor) * 2 - 1
        return tensor * (1 + step * sign)

    return Site("resid_pre", 0).hook, move
