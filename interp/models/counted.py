"""Counted: a model whose passes are counted, and not computed.

Each pass leaves its shape, its hooks see tensors of the right shapes, and made-up logits come back.
So a stage can be gone through in a moment, and the passes are those that it would really make.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.models.checks.model_checks import MODEL_CHECKS, measured_whole
from interp.models.editable import Hook
from interp.models.language_model import LanguageModel
from interp.models.partial import Begin
from interp.models.sizes import site_shape
from interp.models.texts.tokens import Batch
from interp.sites import SITE_NAMES, Site

ROWS = 64
"""Rows of made-up logits, which serve in turn."""

BACKWARD = 2
"""A pass backward is about as much work as so many forward."""

NEVER = -30.0
"""The logit of a token that ends a text: a continuation has as many tokens as it may have."""


class PassShape(NamedTuple):
    """A pass reads `columns` tokens of each of `rows` behind `before` that were read already,
    beginning at the block `lowest`.
    """

    rows: int
    columns: int
    before: int
    lowest: int


class Counted(LanguageModel):
    """`model`, of whose passes only `passes` is kept. What checks a site runs on the model."""

    def __init__(self, model: LanguageModel) -> None:
        for check in MODEL_CHECKS:  # these run in steps, which are not computed here
            measured_whole(model, check)
        _ = model.read_only, model._in_tuples
        self.__dict__.update(model.__dict__)
        self.real = model
        self.bridge = cast(Any, _Deaf(model.bridge))
        self.passes: list[PassShape] = []
        self._lowest = 0
        draw = torch.Generator().manual_seed(0)
        self._logits = torch.randn(ROWS, self.dims.d_vocab, generator=draw)
        self._logits[:, [token for token in self.end_tokens if token < self.dims.d_vocab]] = NEVER

    def forward(
        self, batch: Batch, *, hooks: Sequence[Hook] = (), stop_at_layer: int | None = None
    ) -> Float[Tensor, "batch pos width"]:
        """What the model itself gives: this is what checks of sites run."""
        return self.real.forward(batch, hooks=hooks, stop_at_layer=stop_at_layer)

    def resume(
        self,
        ids: Int[Tensor, "batch new"],
        mask: Bool[Tensor, "batch pos"],
        cache: Any = None,
        *,
        hooks: Sequence[Hook] = (),
        begin: Begin | None = None,
    ) -> tuple[Float[Tensor, "batch d_vocab"], Any]:
        """As `LanguageModel.resume`; the cache that comes back holds nothing."""
        self._lowest = 0 if begin is None else begin.layer
        try:
            return super().resume(ids, mask, cache, hooks=hooks)
        finally:
            self._lowest = 0

    def slopes(self, number: Float[Tensor, ""], by: Tensor) -> Tensor:
        """Ones: nothing was computed that could be gone back through."""
        return torch.ones_like(by)

    def _run(self, ids: Tensor, mask: Tensor, **options: Any) -> Any:
        rows, columns = ids.shape
        shape = PassShape(rows, columns, mask.shape[1] - columns, self._lowest)
        self.passes += [shape] * (1 + BACKWARD * torch.is_grad_enabled())
        passed = self._fire(rows, columns)
        keep = options.get("logits_to_keep", 0) if self._keeps_logits else 0
        width = len(keep) if isinstance(keep, Tensor) else keep or columns
        taken = (torch.arange(rows) + len(self.passes)) % ROWS
        logits = self._logits[taken].to(self.dtype)[:, None].expand(-1, width, -1)
        if torch.is_grad_enabled():  # what passes the sites leads to the logits
            logits = logits + sum(0.0 * one.sum() for one in passed)
        return (logits, _NoCache()) if options.get("return_type") == "logits_and_cache" else logits

    def _fire(self, rows: int, columns: int) -> list[Tensor]:
        """Run the hooks that are there, in the order in which the model would come to them, and
        give what they hand on at each site.
        """
        hooks = self.bridge.kept
        sites = {name: Site.parse(name) for name, _ in hooks}
        place = {name: (site.layer, SITE_NAMES.index(site.name)) for name, site in sites.items()}
        sizes = {"batch": rows, "pos": columns}
        passed = []
        for name in sorted(sites, key=place.__getitem__):
            axes = site_shape(self.dims, sites[name].name)
            shape = [sizes[axis] if axis in sizes else int(axis) for axis in axes]
            one = torch.ones((), dtype=self.dtype, requires_grad=torch.is_grad_enabled())
            tensor = one.expand(shape)
            for own, change in hooks:
                if own == name:
                    edited = change(tensor, None)
                    tensor = tensor if edited is None else edited
            passed.append(tensor)
        return passed


class _Deaf:
    """A bridge whose hooks are kept in a list, and not put on the model."""

    def __init__(self, bridge: Any) -> None:
        self._bridge = bridge
        self.kept: list[Hook] = []

    @contextmanager
    def hooks(self, *, fwd_hooks: Sequence[Hook]) -> Iterator[None]:
        """Keep the hooks while the block runs."""
        before = len(self.kept)
        self.kept += fwd_hooks
        try:
            yield
        finally:
            del self.kept[before:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bridge, name)


class _NoCache:
    """A key-value cache of no layers (see `interp.models.cache`)."""

    layers: tuple[Any, ...] = ()
