"""Self-checks of a loaded model: are its sites what their names say, and do masks, cache and hooks behave?

Each check is a row {check, passed, value, bound}; `value` is a count, or the worst error found,
relative to the largest magnitude of what it is held against. The brief ones run each time a model
is loaded: whatever is computed later relies on them.

1. residual identity: resid_pre + attn_out + mlp_out == resid_post, in each block.
2. shapes: each site's tensor has the shape that `LanguageModel.sites` announces.
3. batched == alone, padded on the right and on the left.
4. hooks: none is left after an exception inside the forward pass.
5. cache: the key-value cache is filled, and a text read in steps has the logits of the whole text,
   while a vector is added at absolute positions.
6. an edit at a site changes the logits (brief: of the stream in the middle; thorough: each site).
7. logits equal those of the Hugging Face model before the bridge was put around it.
8. (thorough) heads: z @ W_O, summed over heads, plus b_O, through the post-norm, is attn_out;
9. (thorough) neurons likewise mlp_out. Left out where quantised matrices cannot be read.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from interp.errors import ArtefactError, DataError, InternalError, UsageError
from interp.models import versions
from interp.models.cache import held
from interp.models.language_model import LanguageModel, PlainLogits
from interp.models.placement import home
from interp.models.sizes import site_shape
from interp.models.tokens import Batch
from interp.sites import SITE_NAMES, Site

TOLERANCE = {torch.float32: 1e-5, torch.float16: 9e-4, torch.bfloat16: 7e-3, torch.float8_e4m3fn: 1e-1}
"""Largest relative difference between two ways to compute one activation, by precision. The last is for quantised models, where
the scale of a product may depend on what else is in the batch; a lost mask is an error of about 1.
"""

LENGTHS = (11, 7, 4)
"""Lengths of the probe's rows: unequal, so that each batch of them holds padding."""

STEPS = 2
"""Single columns that the check of the cache reads behind the first pass."""

PLAIN_TOKENS = 4
"""Tokens on which a model with its bridge is held against itself before it had one."""

Row = dict[str, Any]


def confirm(model: LanguageModel) -> None:
    """Run the brief checks. Raise with check, value and bound when one fails: `ArtefactError` where
    a library is installed in a version that was not tried, and else `InternalError`; `DataError`
    for a model that gives no finite numbers.

    Warns of a version that was not tried and passes.
    """
    if model.known is not None and not torch.isfinite(model.known.logits).all():
        raise DataError(
            f"{model.name} gives logits that are not finite on a few tokens, even without its bridge: "
            f"its weights are damaged, or {model.dtype} cannot hold its numbers. Try float32, or "
            "download it again."
        )
    failed = [row for row in examine(model, thorough=False) if not row["passed"]]
    strange = versions.untried()
    if not failed:
        if strange:
            warnings.warn(
                f"interp was not tried with {', '.join(strange)} (tried: {versions.tried()}). "
                f"The self-checks of {model.name} pass.",
                stacklevel=3,
            )
        return
    told = "; ".join(
        f"{row['check']} self-check failed {row['value']:.1e} > {row['bound']:.0e}: {row['means']}" for row in failed
    )
    here = f"Installed: {versions.installed()}; known to work: {versions.tried()}."
    if strange:
        raise ArtefactError(f"{model.name}: {told}. {here} Run: {versions.remedy()}")
    raise InternalError(f"{model.name}: {told}. {here} `interp doctor {model.name}` shows all checks.")


def examine(model: LanguageModel, *, thorough: bool = True) -> list[Row]:
    """Rows {check, passed, value, bound, means}, one per check; `means` says what a failure points to."""
    probe = _probe(model)
    seen = _record(model, probe)
    middle = model.dims.n_layers // 2
    layers = sorted({0, middle, model.dims.n_layers - 1})
    edited = _offered(model, layers) if thorough else [Site("resid_post", middle)]
    alone = _one_by_one(model, probe)
    bound = _bound(model)
    rows = [
        _row("residual identity", _residual(model, seen), bound, "attn_out and mlp_out are not what is added"),
        _row("shapes", _shapes(model, seen, probe), 0, "a site's tensor is not what its name says"),
        _row("batch, right padding", _batched(model, probe, alone, "right"), bound, "padding/mask bug"),
        _row("batch, left padding", _batched(model, probe, alone, "left"), bound, "padding/mask bug"),
        _row("hooks removed", _hooks_left(model, probe), 0, "hooks stay after an exception"),
        _row("cache under an edit", _cache(model, seen, probe), bound, "a text read in steps is not the whole text"),
        _row("edits act", _silent_edits(model, seen, probe, edited), 0, "a site can be edited without effect"),
    ]
    if model.known is not None:
        rows.append(_row("plain Hugging Face", _plain(model, model.known), bound, "the bridge changes the model"))
    if not thorough:
        return rows
    if model.offers(Site("z", 0)) and not model.quantised:
        rows.append(_row("head sum", _worst_sum(model, seen, "z"), bound, "z @ W_O is not attn_out"))
    if model.offers(Site("post", 0)) and not model.quantised:
        rows.append(_row("neuron sum", _worst_sum(model, seen, "post"), bound, "post @ W_out is not mlp_out"))
    return rows


def _row(check: str, value: float | int, bound: float | int, means: str) -> Row:
    return {"check": check, "passed": bool(value <= bound), "value": float(value), "bound": float(bound), "means": means}


def _bound(model: LanguageModel) -> float:
    return TOLERANCE[model.precision]


def _error(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest magnitude; infinite when anything is not finite."""
    found, expected = found.float(), expected.to(found.device).float()
    gap = (found - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    return float(gap) if torch.isfinite(gap) else float("inf")


def _probe(model: LanguageModel) -> list[list[int]]:
    """Rows of random token ids, the same each time: what is checked does not depend on what the text says."""
    draw = torch.Generator().manual_seed(0)
    lengths = [min(length, model.dims.n_ctx) for length in LENGTHS]
    return [torch.randint(model.dims.d_vocab, (length,), generator=draw).tolist() for length in lengths]


def _offered(model: LanguageModel, layers: Sequence[int]) -> list[Site]:
    sites = [Site(name, layer) for layer in layers for name in SITE_NAMES]
    return [site for site in sites if model.offers(site)]


def _record(model: LanguageModel, probe: Sequence[Sequence[int]]) -> dict[Site, Tensor]:
    """What passes each site when the probe's longest row runs alone."""
    seen: dict[Site, Tensor] = {}

    def reader(site: Site) -> tuple[str, Callable[..., None]]:
        return site.hook, lambda tensor, hook: seen.__setitem__(site, tensor.detach().to(model.device))

    model.forward(model.pad(probe[:1]), hooks=[reader(site) for site in _offered(model, range(model.dims.n_layers))])
    return seen


def _residual(model: LanguageModel, seen: dict[Site, Tensor]) -> float:
    def at(name: str, layer: int) -> Tensor:
        return seen[Site(name, layer)].float()

    layers = range(model.dims.n_layers)
    sums = [at("resid_pre", layer) + at("attn_out", layer) + at("mlp_out", layer) for layer in layers]
    return max(_error(total, at("resid_post", layer)) for layer, total in zip(layers, sums, strict=True))


def _shapes(model: LanguageModel, seen: dict[Site, Tensor], probe: Sequence[Sequence[int]]) -> int:
    """How many sites are silent or of another shape than announced."""
    pos = len(probe[0])
    sizes = {"batch": 1, "pos": pos, "query_pos": pos, "key_pos": pos}
    wrong = 0
    for site in _offered(model, range(model.dims.n_layers)):
        expected = tuple(sizes[axis] if axis in sizes else int(axis) for axis in site_shape(model.dims, site.name))
        wrong += site not in seen or tuple(seen[site].shape) != expected
    return wrong


def _one_by_one(model: LanguageModel, probe: Sequence[Sequence[int]]) -> list[Float[Tensor, "pos d_model"]]:
    """The last residual stream of each row, run alone."""
    return [model.forward(model.pad([row]), stop_at_layer=model.dims.n_layers)[0] for row in probe]


def _batched(model: LanguageModel, probe: Sequence[Sequence[int]], alone: Sequence[Tensor], side: Any) -> float:
    """Worst error of the last residual stream on real tokens, rows in a batch against rows alone."""
    batch = model.pad(probe, side=side)
    together = model.forward(batch, stop_at_layer=model.dims.n_layers)
    return max(_error(together[place][batch.mask[place]], one) for place, one in enumerate(alone))


def _hooks_left(model: LanguageModel, probe: Sequence[Sequence[int]]) -> int:
    """How many hooks are on the model after one of them raised."""

    def fail(tensor: Tensor, hook: Any) -> None:
        raise _Planned

    before = model.count_hooks()
    try:
        model.forward(model.pad(probe[-1:]), hooks=[(Site("resid_pre", 0).hook, fail), (Site("resid_post", 0).hook, fail)])
    except _Planned:
        return abs(model.count_hooks() - before)
    raise InternalError(f"{model.name}: an exception inside a hook did not leave the forward pass.")


class _Planned(Exception):
    """What the hook check raises inside the forward pass."""


def require_sums(model: LanguageModel, sites: Sequence[Site]) -> None:
    """Raise `UsageError` unless the parts at these sites (z: heads, post: neurons) add up to what their
    sublayer adds to the stream. Each layer is looked at once per model, before numbers rest on it.
    """
    unknown = [site for site in sites if site not in model.sum_errors]
    if unknown:
        seen = _record(model, _probe(model))
        model.sum_errors.update({site: _sum_error(model, seen, site) for site in unknown})
    if not sites:
        return
    worst = max(sites, key=lambda site: model.sum_errors[site])
    if not model.sum_errors[worst] <= _bound(model):
        whole = _SUM_OF[worst.name][0]
        raise UsageError(
            f"{model.name}: the parts at {worst} do not add up to {whole} (error {model.sum_errors[worst]:.1e}, "
            f"bound {_bound(model):.0e}): this architecture scales, gates or shares what they write, so that "
            "their contributions would be wrong. Probes, directions, patching and steering of the stream "
            "do not rest on it."
        )


_SUM_OF: dict[str, tuple[str, Any]] = {"z": ("attn_out", "attn"), "post": ("mlp_out", "mlp")}
"""The site whose parts these are, and the sublayer that writes it."""


def _worst_sum(model: LanguageModel, seen: dict[Site, Tensor], name: str) -> float:
    return max(_sum_error(model, seen, Site(name, layer)) for layer in range(model.dims.n_layers))


def _sum_error(model: LanguageModel, seen: dict[Site, Tensor], site: Site) -> float:
    """How far the parts at a site are from adding up to what their sublayer adds."""
    name, sublayer = _SUM_OF[site.name]
    layer, parts = site.layer, seen[site]
    if site.name == "z":
        total = torch.einsum("bphd,hdm->bpm", parts, model.W_O(layer)) + model.b_O(layer)
    else:
        total = parts @ model.W_out(layer) + model.b_out(layer)
    return _error(_normed(model, layer, sublayer, total), seen[Site(name, layer)])


def _normed(model: LanguageModel, layer: int, sublayer: Any, total: Tensor) -> Tensor:
    norm = model.post_norm(layer, sublayer)
    with torch.no_grad():
        return total if norm is None else norm(total)


def _silent_edits(model: LanguageModel, seen: dict[Site, Tensor], probe: Sequence[Sequence[int]], sites: Sequence[Site]) -> int:
    """How many of `sites` can be overwritten with noise without a change of the logits.

    One batch holds the shortest row once per site, and each site is disturbed in its own row alone.
    Sites that the model announces as read-only are left out.
    """
    tried = [site for site in sites if site in seen and site.name not in model.read_only]
    text, together = probe[-1], len(tried)
    if model.quantised:  # a row may then depend on what else is in its batch
        together = 1
    draw = torch.Generator().manual_seed(1)
    return sum(_unmoved(model, text, tried[first : first + together], seen, draw) for first in range(0, len(tried), together))


def _unmoved(
    model: LanguageModel, text: Sequence[int], sites: Sequence[Site], seen: dict[Site, Tensor], draw: torch.Generator
) -> int:
    """How many rows of one batch, row i disturbed at `sites[i]`, have the logits of the same batch undisturbed."""

    def disturb(row: int, site: Site) -> tuple[str, Callable[..., Tensor]]:
        def edit(tensor: Tensor, hook: Any) -> Tensor:
            changed = tensor.clone()
            noise = torch.randn(tensor.shape[1:], generator=draw).to(tensor)
            changed[row] += noise * _spread(seen[site]).to(tensor)
            return changed

        return site.hook, edit

    batch = model.pad([text] * len(sites))
    clean = model.forward(batch)
    moved = model.forward(batch, hooks=[disturb(row, site) for row, site in enumerate(sites)])
    return sum(_error(moved[row], clean[row]) == 0 for row in range(len(sites)))


def _spread(tensor: Tensor) -> Tensor:
    return tensor.float().std().clamp(min=1e-3).to(tensor)


def _cache(model: LanguageModel, seen: dict[Site, Tensor], probe: Sequence[Sequence[int]]) -> float:
    """Worst error of the logits of left-padded rows read in steps with the cache, against the whole
    rows at once, while a vector is added at absolute positions >= 3. Infinite when the cache does
    not hold what was read.
    """
    batch = model.pad(probe, side="left")
    width = batch.ids.shape[1]
    site = Site("resid_post", model.dims.n_layers // 2)
    draw = torch.Generator().manual_seed(2)
    vector = torch.randn(model.dims.d_model, generator=draw).to(seen[site])
    adder = _AddFrom(3, vector * _spread(seen[site]), batch)
    cache, errors = None, []
    with model.hooked([(site.hook, adder)]):
        for end in range(max(width - STEPS, 1), width + 1):
            ids, mask = batch.ids[:, :end], batch.mask[:, :end]
            adder.start = 0
            whole, _ = model.step(ids, mask, None, use_cache=False)
            adder.start = 0 if cache is None else end - 1
            cached, cache = model.step(ids, mask, cache, use_cache=True)
            errors.append(_error(cached, whole))
    return max(errors) if held(cache) == width else float("inf")


class _AddFrom:
    """A hook that adds `vector` at absolute positions >= `first` of left-padded rows, in a pass whose
    first column is `start`.
    """

    def __init__(self, first: int, vector: Tensor, batch: Batch) -> None:
        self.first, self.vector, self.pads = first, vector, batch.pads.unsqueeze(1)
        self.start = 0

    def __call__(self, tensor: Tensor, hook: Any) -> Tensor:
        columns = torch.arange(self.start, self.start + tensor.shape[1])
        chosen = columns - self.pads >= self.first
        return tensor + chosen.unsqueeze(-1).to(tensor) * self.vector.to(tensor.device)


def plain_logits(hf_model: PreTrainedModel, d_vocab: int) -> PlainLogits:
    """What a Hugging Face model gives for a few tokens, before a bridge is put around it."""
    ids = torch.randint(d_vocab, (1, PLAIN_TOKENS), generator=torch.Generator().manual_seed(3))
    device = home(hf_model.get_input_embeddings())
    with torch.no_grad():
        logits = hf_model(ids.to(device)).logits
    return PlainLogits(ids[0].tolist(), logits)


def _plain(model: LanguageModel, known: PlainLogits) -> float:
    """Worst error of the logits against those of the same model without its bridge."""
    return _error(model.forward(model.pad([known.ids])), known.logits)
