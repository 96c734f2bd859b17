"""LanguageModel: a causal language model whose inner activations can be read and edited, and its
tokenizer.

It stands on TransformerLens's `TransformerBridge` in the raw basis: the weights and the residual
stream are Hugging Face's own, nothing is folded or centred. The model is in evaluation mode; its
weights take no gradient, and a pass records one only inside `traced`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp.errors import DataError, InternalError, UsageError
from interp.models.arithmetic import coarsest
from interp.models.cache import cache_name
from interp.models.chat_template import ChatTemplate
from interp.models.editable import Hook, find_read_only
from interp.models.generation import Decoding, choose, undecided, until
from interp.models.hooks import Hooked
from interp.models.partial import Begin, begun_at, gives_tuples
from interp.models.placement import Placement, home, is_spread
from interp.models.quantised import is_quantised
from interp.models.sizes import Dims, site_rows
from interp.models.texts.ends import refuse_ended
from interp.models.texts.reader import Reader
from interp.models.texts.tokens import Batch
from interp.models.weights import working_dtype
from interp.sites import Site

Told = Callable[[list[list[int]]], None]
"""Called while prompts are continued, with the new tokens of each row so far."""


class PlainLogits(NamedTuple):
    """Tokens, and the logits that the Hugging Face model without a bridge gives for them."""

    ids: list[int]
    logits: Float[Tensor, "1 pos d_vocab"]


class LanguageModel(Reader, Hooked):
    """A model, its tokenizer, its sizes and where it came from. Made by `interp.models.load`.

    `provenance` is what `RunRecord` keeps of it; `plain` builds the same model once more without
    the bridge; `chat` is the template that its texts are given under, or None; `known`, where it
    was taken, is what the doctor holds the bridge against. `placement` is what `load` was told of
    devices; token ids go to `device`, and weights are handed out there. `spread`: it lies on
    several devices; `quantised`: its matrices are kept in few bits; `precision`: the coarsest
    arithmetic in it (float8 stands for that of quantised kernels, float16 for TF32).
    """

    def __init__(
        self,
        name: str,
        bridge: TransformerBridge,
        tokenizer: PreTrainedTokenizerBase,
        *,
        dims: Dims,
        provenance: Mapping[str, Any],
        plain: Callable[[], PreTrainedModel],
        placement: Placement,
        chat: ChatTemplate | None = None,
        known: PlainLogits | None = None,
    ) -> None:
        Reader.__init__(self, name, tokenizer, dims, chat)
        Hooked.__init__(self, bridge)
        self.provenance = dict(provenance)
        self.plain = plain
        self.placement = placement
        self.known = known
        self.proofs: dict[tuple[str, Site | None], Any] = {}
        """What each check found (a `probe.Gap`), by name and site (None: the whole model); and
        what several checks compare with (`model_checks.ALONE`)."""
        self.passing: dict[Site, Tensor] | None = None
        """What passes each site on the probe, kept while the checks look at it; else None."""
        self.rounding: float | None = None
        """How far the logits move when the embedding moves by one rounding; None: not measured."""
        wrapped: Any = bridge.original_model
        self.device: torch.device = home(wrapped.get_input_embeddings())
        self.dtype: torch.dtype = working_dtype(wrapped)
        self.quantised: bool = is_quantised(wrapped)
        self.precision: torch.dtype = (
            torch.float8_e4m3fn if self.quantised else coarsest(self.device, self.dtype)
        )
        self.spread: bool = is_spread(wrapped)
        self._cache_name = cache_name(bridge.original_model)
        self._keeps_logits = (
            "logits_to_keep" in inspect.signature(bridge.original_model.forward).parameters
        )

    def forward(
        self, batch: Batch, *, hooks: Sequence[Hook] = (), stop_at_layer: int | None = None
    ) -> Float[Tensor, "batch pos width"]:
        """Logits [batch pos d_vocab] of `batch` under `hooks`, in the model's dtype; values on
        padding mean nothing.

        With `stop_at_layer` = l, only blocks 0..l-1 run, and the residual stream [batch pos
        d_model] after them is returned (l = n_layers: before the final norm, without unembedding).
        Raises `UsageError` for an unknown hook name or layer, `DataError` for a batch longer than
        the context.
        """
        self._check_width(batch.ids.shape[1])
        if stop_at_layer is None:
            with self.hooked(hooks):
                return self._run(batch.ids, batch.mask)
        if not 0 <= stop_at_layer <= self.dims.n_layers:
            raise UsageError(
                f"stop_at_layer {stop_at_layer}: expected 0..{self.dims.n_layers}, the number of "
                "blocks to run."
            )
        site = Site("resid_post", stop_at_layer - 1) if stop_at_layer else Site("resid_pre", 0)
        with self.hooked([*hooks, (site.hook, _stop)]):
            try:
                self._run(batch.ids, batch.mask)
            except _Stopped as stopped:
                return stopped.residual
        raise InternalError(f"{self.name}: the forward pass did not reach layer {stop_at_layer}.")

    def last_logits(
        self, batch: Batch, *, hooks: Sequence[Hook] = ()
    ) -> Float[Tensor, "batch d_vocab"]:
        """Logits at each row's last real token; where the model can, no other position is
        unembedded.
        """
        self._check_width(batch.ids.shape[1])
        columns, place = torch.unique(batch.last, return_inverse=True)
        keep: int | Tensor = columns.to(self.device)
        # their list would lie on the first device and what it picks from on the last: a tail is
        # kept instead
        if self.spread:
            columns = torch.arange(int(columns[0]), batch.ids.shape[1])
            place, keep = batch.last - columns[0], len(columns)
        with self.hooked(hooks):
            logits = self._run(batch.ids, batch.mask, logits_to_keep=keep)
        place = place if logits.shape[1] == len(columns) else batch.last
        return logits[torch.arange(len(batch.lengths)), place.to(logits.device)]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        *,
        hooks: Sequence[Hook] = (),
        use_cache: bool = True,
        told: Told | None = None,
    ) -> list[list[int]]:
        """New tokens after each prompt (ids), up to and without the end-of-text token. `told` is
        called after each step with what was written so far.

        Prompts run as one left-padded batch. With the cache a hook sees `[batch, prompt, ...]` once
        and then one position per call; without, all positions each time. Sampling draws from its
        own generator. Raises `DataError` for a prompt that is too long, or that ends in an
        end token, and for logits that are not finite.
        """
        refuse_ended(
            self.tokenizer,
            prompts,
            self.end_tokens,
            names=[f"prompt {at}" for at in range(len(prompts))],
        )
        batch = self.pad(prompts, side="left")
        self._check_width(
            batch.ids.shape[1] + decoding.max_new_tokens,
            what=f"the longest prompt and its {decoding.max_new_tokens} new tokens",
            fix="shorten the prompt (or what was said before it), or write fewer tokens",
        )
        draw = torch.Generator().manual_seed(decoding.seed)
        ends = self.end_tokens
        ids, mask, cache = batch.ids, batch.mask, None
        ended = torch.zeros(len(prompts), dtype=torch.bool)
        with self.hooked(hooks):
            for _ in range(decoding.max_new_tokens):
                logits, cache = self.step(ids, mask, cache, use_cache=use_cache)
                if broken := undecided(logits):
                    raise DataError(
                        f"{self.name} gives logits that are not finite behind {len(broken)} "
                        f"prompts, the first {self.decode(list(prompts[broken[0]]))[:60]!r}: try "
                        "float32, or a smaller edit."
                    )
                chosen = choose(logits, temperature=decoding.temperature, draw=draw)
                ids = torch.cat([ids, chosen.unsqueeze(1)], dim=1)
                mask = torch.cat([mask, torch.ones(len(prompts), 1, dtype=torch.bool)], dim=1)
                ended |= torch.isin(chosen, torch.tensor(sorted(ends), dtype=torch.long))
                written = [until(ends, row) for row in ids[:, batch.ids.shape[1] :].tolist()]
                if told is not None:
                    told(written)
                if ended.all():
                    break
        return written

    def step(
        self,
        ids: Int[Tensor, "batch pos"],
        mask: Bool[Tensor, "batch pos"],
        cache: Any,
        *,
        use_cache: bool,
    ) -> tuple[Float[Tensor, "batch d_vocab"], Any]:
        """Logits of the next token behind left-padded `ids`, and the cache that holds them all.

        `cache` holds all columns but the last one, or is None: then all are read. Without
        `use_cache` all are read, and None comes back.
        """
        if not use_cache:
            return self._run(ids, mask, logits_to_keep=1, use_cache=False)[:, -1], None
        return self.resume(ids if cache is None else ids[:, -1:], mask, cache)

    def resume(
        self,
        ids: Int[Tensor, "batch new"],
        mask: Bool[Tensor, "batch pos"],
        cache: Any = None,
        *,
        hooks: Sequence[Hook] = (),
        begin: Begin | None = None,
    ) -> tuple[Float[Tensor, "batch d_vocab"], Any]:
        """Read the columns `ids` of a left-padded batch behind those that `cache` holds (None: from
        the first column).

        `mask` covers cached and new columns. Gives the logits behind the last column and the
        key-value cache up to there; the cache given is extended in place. With `begin` the blocks
        below it are skipped. Raises as `forward` does.
        """
        self._check_width(mask.shape[1])
        options: dict[str, Any] = {"use_cache": True, "logits_to_keep": 1}
        if cache is not None:
            options[self._cache_name] = cache
        with self.hooked(hooks), begun_at(self.bridge, begin) if begin else nullcontext():
            logits, cache = self._run(ids, mask, return_type="logits_and_cache", **options)
        return logits[:, -1], cache

    def begin(self, layer: int, residual: Float[Tensor, "batch new d_model"]) -> Begin:
        """What `resume` needs to begin at `layer`, where the stream holds `residual`."""
        return Begin(layer, residual, self._in_tuples)

    @cached_property
    def _in_tuples(self) -> bool:
        return gives_tuples(self.bridge)

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids that end a text: the tokenizer's end-of-text token, and those that the model's
        configurations name (for generation, a chat model names its end of turn).
        """
        wrapped: Any = self.bridge.original_model
        found = [self.tokenizer.eos_token_id]
        for config in (wrapped.config, getattr(wrapped, "generation_config", None)):
            named = getattr(config, "eos_token_id", None)
            found += named if isinstance(named, list) else [named]
        return frozenset(int(token) for token in found if token is not None)

    @cached_property
    def read_only(self) -> frozenset[str]:
        """Sites that can be recorded and not edited (see `find_read_only`)."""
        few = self.pad([[0, 1, 2]])

        def first_block(hooks: Sequence[Hook]) -> Tensor:
            return self.forward(few, hooks=hooks, stop_at_layer=1)

        return find_read_only(first_block, offers=self.offers)

    def sites(self) -> list[dict[str, Any]]:
        """A row a kind of site: its name, hook, layers, shape with this model's numbers, and the
        analyses that accept it.
        """
        return site_rows(self.dims, self.offers, read_only=self.read_only)

    def _run(self, ids: Tensor, mask: Tensor, **options: Any) -> Any:
        if not self._keeps_logits:
            options.pop("logits_to_keep", None)
        return self.bridge(
            ids.to(self.device), attention_mask=mask.long().to(self.device), **options
        )

    def _check_width(
        self, width: int, *, what: str = "the batch", fix: str = "shorten its texts"
    ) -> None:
        if width > self.dims.n_ctx:
            raise DataError(
                f"{what} has {width} positions and the context of {self.name} holds "
                f"{self.dims.n_ctx} (n_ctx): {fix}."
            )


class _Stopped(Exception):
    """Leaves the forward pass with the residual stream at the layer asked for."""

    def __init__(self, residual: Tensor) -> None:
        super().__init__()
        self.residual = residual


def _stop(tensor: Tensor, hook: Any) -> None:
    raise _Stopped(tensor)
