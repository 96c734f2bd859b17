"""Checks of a model as a whole: masks, hooks, the key-value cache, and Hugging Face's own logits.

1. batched == alone, padded on the right and on the left.
2. hooks: those that were there before are there after an exception inside the forward pass.
3. cache: it is filled, and a text read in steps has the logits of the whole text, while a vector is
   added at absolute positions.
4. plain Hugging Face: the logits are those of the model before the bridge was put around it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from interp.errors import InternalError
from interp.models.cache import held
from interp.models.checks.probe import (
    SAME,
    Gap,
    exact_bound,
    gap,
    pass_bound,
    probe_tokens,
    rounding,
    widest,
)
from interp.models.checks.site_checks import passing_probe, spread_of
from interp.models.editable import Hook
from interp.models.language_model import LanguageModel, PlainLogits
from interp.models.placement import home
from interp.models.texts.tokens import Batch
from interp.sites import Site

STEPS = 2
"""Single columns that the check of the cache reads behind the first pass."""

PLAIN_TOKENS = 4
"""Tokens on which a model with its bridge is held against itself before it had one."""

ALONE = ("rows alone", None)
"""Key of the last residual stream of each row of the probe by itself, in a model's proofs."""


class ModelCheck(NamedTuple):
    """How a check is measured, what a failure points to, the largest error at which it passes, and
    whether it counts or compares.
    """

    measure: Callable[[LanguageModel], Gap]
    means: str
    bound: Callable[[LanguageModel], float] = pass_bound
    counts: bool = False


def measure_right(model: LanguageModel) -> Gap:
    """Worst gap of the last residual stream on real tokens, rows in a batch against rows alone."""
    return _batched(model, "right")


def measure_left(model: LanguageModel) -> Gap:
    """As `measure_right`, padded on the left."""
    return _batched(model, "left")


def measure_hooks(model: LanguageModel) -> Gap:
    """How many hooks more or less are on the model after one of them raised."""

    def fail(tensor: Tensor, hook: Any) -> None:
        raise _Planned

    before = model.count_hooks()
    sites = (Site("resid_pre", 0), Site("resid_post", 0))
    try:
        model.forward(
            model.pad(probe_tokens(model)[-1:]), hooks=[(site.hook, fail) for site in sites]
        )
    except _Planned:
        after = model.count_hooks()
        return Gap(float(abs(after - before)), f"{after} hooks", f"{before}")
    raise InternalError(f"{model.name}: an exception inside a hook did not leave the forward pass.")


class _Planned(Exception):
    """What the hook check raises inside the forward pass."""


def measure_cache(model: LanguageModel) -> Gap:
    """Worst gap of the logits of left-padded rows read in steps with the cache, against the whole
    rows at once, while a vector is added at absolute positions >= 3. Infinite when the cache does
    not hold what was read.
    """
    site = _edited_site(model)
    rows = _EditedRows.of(model)
    if rows is None:
        return Gap(float("inf"), f"nothing at {site}", "a tensor")
    cache, gaps = None, []
    for end, whole in zip(rows.ends, rows.whole(), strict=True):
        cached, cache = rows.read(end, cache)
        gaps.append(gap(cached, whole))
    if held(cache) != rows.ends[-1]:
        return Gap(float("inf"), f"a cache of {held(cache)} columns", f"{rows.ends[-1]}")
    return widest(gaps)


def cache_bound(model: LanguageModel) -> float:
    """As `pass_bound`, where a rounding may be enlarged by the edit of `measure_cache`."""
    rows = _EditedRows.of(model)
    if rows is None:
        return pass_bound(model)
    moved = gap(rows.whole([rounding(model)]), rows.whole())
    return pass_bound(model, moved.error)


def measure_plain(model: LanguageModel) -> Gap:
    """Worst gap of the logits against those of the same model without its bridge."""
    if model.known is None:
        return SAME
    return gap(model.forward(model.pad([model.known.ids])), model.known.logits)


MODEL_CHECKS: Mapping[str, ModelCheck] = {
    "batch, right padding": ModelCheck(measure_right, "padding/mask bug"),
    "batch, left padding": ModelCheck(measure_left, "padding/mask bug"),
    "hooks removed": ModelCheck(measure_hooks, "hooks stay after an exception", counts=True),
    "cache under an edit": ModelCheck(
        measure_cache, "a text read in steps is not the whole text", bound=cache_bound
    ),
    "plain Hugging Face": ModelCheck(measure_plain, "the bridge changes the model"),
}
"""The checks by name."""


def measured_whole(model: LanguageModel, check: str) -> Gap:
    """What a check of the whole model finds; each is made once per model."""
    if (check, None) not in model.proofs:
        model.proofs[check, None] = MODEL_CHECKS[check].measure(model)
    return model.proofs[check, None]


def whole_bound(model: LanguageModel, check: str, error: float) -> float:
    """The largest error at which a check of the whole model passes. What a rounding does is
    measured only where `error`, the one that was found, asks for it.
    """
    if MODEL_CHECKS[check].counts:
        return 0.0
    return exact_bound(model) if error <= exact_bound(model) else MODEL_CHECKS[check].bound(model)


def plain_logits(hf_model: PreTrainedModel, d_vocab: int) -> PlainLogits:
    """What a Hugging Face model gives for a few tokens, before a bridge is put around it."""
    ids = torch.randint(d_vocab, (1, PLAIN_TOKENS), generator=torch.Generator().manual_seed(3))
    device = home(hf_model.get_input_embeddings())
    with torch.no_grad():
        logits = hf_model(ids.to(device)).logits
    return PlainLogits(ids[0].tolist(), logits)


def _batched(model: LanguageModel, side: str) -> Gap:
    rows = probe_tokens(model)
    if ALONE not in model.proofs:
        model.proofs[ALONE] = [_last_stream(model, model.pad([row]))[0] for row in rows]
    alone, batch = model.proofs[ALONE], model.pad(rows, side=side)
    together = _last_stream(model, batch)
    return widest([gap(together[i][batch.mask[i]], one) for i, one in enumerate(alone)])


def _last_stream(model: LanguageModel, batch: Batch) -> Float[Tensor, "batch pos d_model"]:
    return model.forward(batch, stop_at_layer=model.dims.n_layers)


def _edited_site(model: LanguageModel) -> Site:
    return Site("resid_post", model.dims.n_layers // 2)


class _EditedRows:
    """The probe's rows, left-padded, while a vector is added in the middle of the model."""

    def __init__(self, model: LanguageModel, batch: Batch, vector: Tensor) -> None:
        self._model, self._batch = model, batch
        self._adder = _AddFrom(3, vector, batch)
        self._edit: Hook = (_edited_site(model).hook, self._adder)
        width = batch.ids.shape[1]
        self.ends = range(max(width - STEPS, 1), width + 1)
        """How many columns are read, in the first pass and in those behind it."""

    @classmethod
    def of(cls, model: LanguageModel) -> "_EditedRows | None":
        """The rows of this model, None where nothing passes the site: the vector is as large as
        what passes there.
        """
        rows, site = probe_tokens(model), _edited_site(model)
        stream = passing_probe(model, [site]).get(site)
        if stream is None:
            return None
        draw = torch.Generator().manual_seed(2)
        vector = torch.randn(model.dims.d_model, generator=draw).to(stream) * spread_of(stream)
        return cls(model, model.pad(rows, side="left"), vector)

    def whole(self, hooks: Sequence[Hook] = ()) -> Float[Tensor, "end row d_vocab"]:
        """Logits behind the first columns up to each of `ends`, all read at once."""
        self._adder.start = 0
        logits = self._model.forward(self._batch, hooks=[*hooks, self._edit])
        return logits[:, [end - 1 for end in self.ends]].transpose(0, 1)

    def read(self, end: int, cache: Any) -> tuple[Float[Tensor, "row d_vocab"], Any]:
        """Logits behind the first `end` columns, of which `cache` holds all but the last (None:
        none), and the cache of them all.
        """
        self._adder.start = 0 if cache is None else end - 1
        ids, mask = self._batch.ids[:, :end], self._batch.mask[:, :end]
        with self._model.hooked([self._edit]):
            return self._model.step(ids, mask, cache, use_cache=True)


class _AddFrom:
    """A hook that adds `vector` at absolute positions >= `first` of left-padded rows, in a pass
    whose first column is `start`.
    """

    def __init__(self, first: int, vector: Tensor, batch: Batch) -> None:
        self.first, self.vector, self.pads = first, vector, batch.pads.unsqueeze(1)
        self.start = 0

    def __call__(self, tensor: Tensor, hook: Any) -> Tensor:
        columns = torch.arange(self.start, self.start + tensor.shape[1])
        chosen = columns - self.pads >= self.first
        return tensor + chosen.unsqueeze(-1).to(tensor) * self.vector.to(tensor.device)
