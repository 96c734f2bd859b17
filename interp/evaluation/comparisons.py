"""Comparisons: each method's numbers on a model, against those of the plain Hugging Face model.

Each gives the largest difference, relative to the largest number. `METHODS` says what a method
relies on, the sites that it touches, and its comparison.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp.causal.contributions import contributions_at
from interp.causal.edits import add, replace
from interp.causal.forward import Encoded
from interp.causal.interventions import Intervention, applied
from interp.causal.prefix import Prefix
from interp.evaluation.plainly import Plain, plus, put
from interp.models import LanguageModel
from interp.models.editable import Hook
from interp.models.generation import Decoding
from interp.sites import Site

TEXTS = ((1, 9, 14, 30, 8, 21, 6), (1, 30, 12, 5), (1, 4, 17, 25, 9))
WRITTEN_TOKENS = 6
HEAD, NEURON = 1, 5


@dataclass(frozen=True)
class Trial:
    """A model under interp and under Hugging Face, and how close they are to be."""

    model: LanguageModel
    plain: Plain
    close: float


def _compare_stream(trial: Trial) -> float:
    """resid_post of every layer, in one padded batch, with resid_pre of the next."""
    model, gaps = trial.model, []
    layers = range(model.dims.n_layers)
    seen = _seen(model, [Site("resid_post", layer) for layer in layers])
    nexts = _seen(model, [Site("resid_pre", layer) for layer in layers[1:]])
    for row, ids in enumerate(TEXTS):
        for layer, expected in enumerate(trial.plain.stream(ids)):
            gaps.append(_apart(seen[Site("resid_post", layer)][row], expected))
            if layer + 1 in layers:
                gaps.append(_apart(nexts[Site("resid_pre", layer + 1)][row], expected))
    return max(gaps)


def _compare_added(trial: Trial) -> float:
    """attn_out and mlp_out: how the stream changes when Hugging Face's module writes nothing."""
    model, ids, gaps = trial.model, TEXTS[0], []
    kinds = {"attn_out": "attention", "mlp_out": "mlp"}
    for layer in range(model.dims.n_layers):
        seen = _seen(model, [Site(name, layer) for name in kinds])
        scale = trial.plain.stream(ids)[layer].abs().max()
        for name, kind in kinds.items():
            expected = trial.plain.added(ids, layer, kind)
            gaps.append(float((seen[Site(name, layer)][0] - expected).abs().max() / scale))
    return max(gaps)


def _compare_contributions(trial: Trial, name: str) -> float:
    """Each unit's contribution to a direction at the last token: what the stream lacks along it
    when Hugging Face's matrix is not given that unit; and its share, where a norm behind is held.
    """
    model, ids, gaps = trial.model, TEXTS[0], []
    vector = torch.randn(model.dims.d_model, generator=torch.Generator().manual_seed(0))
    vector = vector / vector.norm()
    for layer in range(model.dims.n_layers):
        site = Site(name, layer)
        x = _seen(model, [site])[site][0][-1:]
        for frozen in (False, True):
            found = contributions_at(model, site, x.numpy(), vector.numpy(), frozen=frozen)[0]
            for unit in (0, HEAD, len(found) - 1):
                units = _units(model, name, unit)
                part = trial.plain.part(ids, layer, _KIND[name], units, frozen=frozen)
                gap = abs(float(found[unit]) - float(part[-1] @ vector))
                gaps.append(gap / float(abs(found).max()))
    return max(gaps)


def _compare_patching(trial: Trial) -> float:
    """Logits with the stream of one text at another's last token, behind a cached prefix."""
    gaps = []
    for layer in range(trial.model.dims.n_layers):
        value = trial.plain.stream(TEXTS[1])[layer][-1]
        edits = [Intervention(Site("resid_post", layer), replace(value), "last")]
        changes = [[(trial.plain.blocks[layer], put(len(ids) - 1, value))] for ids in TEXTS]
        gaps.append(_edited(trial, edits, changes))
    return max(gaps)


def _compare_added_patching(trial: Trial) -> float:
    """Logits with nothing written by attention, and by the MLP, at the last token."""
    gaps = []
    for layer in range(trial.model.dims.n_layers):
        writers = trial.plain.writers[layer]
        for name, writer in (("attn_out", writers.attention), ("mlp_out", writers.mlp)):
            value = torch.zeros(trial.model.dims.d_model)
            edits = [Intervention(Site(name, layer), replace(value), "last")]
            changes = [[(writer, _silent_at(len(ids) - 1))] for ids in TEXTS]
            gaps.append(_edited(trial, edits, changes))
    return max(gaps)


def _compare_ablation(trial: Trial, name: str) -> float:
    """Logits with a head, or a neuron, set to zero at the last token."""
    model, gaps = trial.model, []
    unit = HEAD if name == "z" else NEURON
    for layer in range(model.dims.n_layers):
        width = model.dims.n_heads if name == "z" else model.dims.d_mlp
        chosen = torch.zeros(len(TEXTS), width, dtype=torch.bool)
        chosen[:, unit] = True
        shape = (width, model.dims.d_head) if name == "z" else (width,)
        edits = [Intervention(Site(name, layer), replace(torch.zeros(shape), units=chosen), "last")]
        writer = getattr(trial.plain.writers[layer], _KIND[name])
        units = _units(model, name, unit)
        changes = [[(writer, _silent_at(len(ids) - 1, units))] for ids in TEXTS]
        gaps.append(_edited(trial, edits, changes, inputs=True))
    return max(gaps)


def _compare_generation(trial: Trial) -> float:
    """Greedy tokens, in a padded batch and with the cache: how far each is from Hugging Face's
    most likely one.
    """
    written = trial.model.generate(TEXTS, Decoding(max_new_tokens=WRITTEN_TOKENS))
    return max(_unlikely(trial, ids, new) for ids, new in zip(TEXTS, written, strict=True))


def _compare_steering(trial: Trial) -> float:
    """The same while a vector is added from the prompt's last token on."""
    model, gaps = trial.model, []
    layer = model.dims.n_layers // 2
    scale = float(trial.plain.stream(TEXTS[0])[layer].norm(dim=-1).mean())
    vector = torch.randn(model.dims.d_model, generator=torch.Generator().manual_seed(1))
    vector = vector / vector.norm() * scale
    edit = Intervention(Site("resid_post", layer), add(vector.numpy()), ("last", "generated"))
    with applied(model, [edit], lengths=[len(ids) for ids in TEXTS], side="left"):
        written = model.generate(TEXTS, Decoding(max_new_tokens=WRITTEN_TOKENS))
    for ids, new in zip(TEXTS, written, strict=True):
        with trial.plain.changed([(trial.plain.blocks[layer], plus(len(ids) - 1, vector))]):
            gaps.append(_unlikely(trial, ids, new))
    return max(gaps)


class Examined(NamedTuple):
    """A column of the table: what it relies on, the sites that it touches, and the comparison."""

    relies: str
    names: tuple[str, ...]
    compare: Callable[[Trial], float]


METHODS: Mapping[str, Examined] = {
    "stream": Examined("capture", ("resid_pre", "resid_post"), _compare_stream),
    "what is added": Examined("capture", ("attn_out", "mlp_out"), _compare_added),
    "heads": Examined("contributions", ("z",), lambda one: _compare_contributions(one, "z")),
    "neurons": Examined(
        "contributions", ("post",), lambda one: _compare_contributions(one, "post")
    ),
    "patch stream": Examined("patching", ("resid_post",), _compare_patching),
    "patch added": Examined("patching", ("attn_out", "mlp_out"), _compare_added_patching),
    "ablate heads": Examined("ablation", ("z",), lambda one: _compare_ablation(one, "z")),
    "ablate neurons": Examined("ablation", ("post",), lambda one: _compare_ablation(one, "post")),
    "steer": Examined("steering", ("resid_post",), _compare_steering),
    "generate": Examined("generation", (), _compare_generation),
}
"""The columns of the table."""

_KIND = {"z": "attention", "post": "mlp"}


def _units(model: LanguageModel, name: str, unit: int) -> slice:
    """What a head, or a neuron, is among the numbers that enter its matrix."""
    width = model.dims.d_head if name == "z" else 1
    return slice(unit * width, (unit + 1) * width)


def _seen(model: LanguageModel, sites: Sequence[Site]) -> dict[Site, list[Tensor]]:
    """What passes the sites on each text, from one padded batch."""
    kept: dict[Site, Tensor] = {}

    def reader(site: Site) -> Hook:
        return site.hook, lambda x, hook: kept.__setitem__(site, x.float())

    hooks = [reader(site) for site in sites]
    model.forward(model.pad(TEXTS), hooks=hooks)
    return {site: [x[i, : len(ids)] for i, ids in enumerate(TEXTS)] for site, x in kept.items()}


def _edited(
    trial: Trial,
    edits: Sequence[Intervention],
    changes: Sequence[Sequence[tuple[Any, Callable[[Tensor], Tensor]]]],
    *,
    inputs: bool = False,
) -> float:
    """Logits behind all texts under `edits`, which act on the last token, against Hugging Face's
    under each text's own `changes`.
    """
    rows = [Encoded(tuple(ids), len(ids) - 1) for ids in TEXTS]
    found = Prefix(trial.model, rows, [row.end for row in rows]).run(edits).logits
    gaps = []
    for row, (ids, own) in enumerate(zip(TEXTS, changes, strict=True)):
        with trial.plain.changed(() if inputs else own, own if inputs else ()):
            gaps.append(_apart(found[row].float(), trial.plain.logits(ids)[-1]))
    return max(gaps)


def _silent_at(position: int, units: slice = slice(None)) -> Callable[[Tensor], Tensor]:
    """Zeros at a position, whether or not texts and positions share an axis there (OPT)."""

    def change(x: Tensor) -> Tensor:
        changed = x.clone()
        changed.view(-1, x.shape[-1])[position, units] = 0
        return changed

    return change


def _unlikely(trial: Trial, ids: Sequence[int], new: Sequence[int]) -> float:
    """How far the logits of the tokens written are below the largest, relative to the largest
    magnitude; of a text that ended, the end itself is not looked at.
    """
    logits = trial.plain.logits([*ids, *new])[len(ids) - 1 : -1]
    if not len(new):
        return 0.0
    chosen = logits[torch.arange(len(new)), torch.tensor(new)]
    return float(((logits.max(-1).values - chosen) / logits.abs().max()).max())


def _apart(found: Tensor, expected: Tensor) -> float:
    gap = (found.float() - expected).abs().max() / expected.abs().max()
    return float(gap) if torch.isfinite(gap) else float("inf")
