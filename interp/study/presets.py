"""Presets: how much of a study is run. What each means stands here and nowhere else.

A model of few layers and a small battery lose nothing to `standard`: its limits are above them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interp.errors import UsageError
from stimuli.battery import Battery, in_content_order

THINNED = ("resid_pre", "resid_mid", "attn_out", "mlp_out")
"""Sites that are probed at some layers only. The stream behind each block, and what heads and
neurons give (which contributions need), are kept at all layers.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The limits of a study; None is no limit.

    `without`: stages that a whole study leaves out; asked for by name they run. `twins_only`: texts
    without a twin are not captured. `scenarios`: scenarios per emotion. `layers`: layers, evenly
    spaced, at which the sites of `THINNED` are captured and probed; `patched_layers`: those at
    which patching and attribution try the sites `patched`; `embeddings`: patching tries what the
    first block reads, too; `steered_layers`: those at which steering tries directions, among the
    layers that tell twins apart best. `pairs`: pairs per emotion in a causal stage. `ks` and
    `draws`: how many components are ablated together, and how many random choices stand beside
    them. `tried`: how many of the heads (and of the neurons) that attribution ranks first are
    patched exactly, and as many others. `shares`: shares of all heads and neurons that a circuit
    keeps, in `kept_pairs` pairs per emotion. `prompts` and `scales`: prompts that are steered, and
    strengths. `followed`: scenarios per emotion that are read on behind their end, up to `offsets`
    tokens behind it.
    """

    without: tuple[str, ...] = ()
    twins_only: bool
    scenarios: int | None
    layers: int | None
    patched_layers: int | None
    patched: tuple[str, ...]
    embeddings: bool
    steered_layers: int | None
    pairs: int
    ks: tuple[int, ...]
    draws: int
    tried: int
    shares: tuple[float, ...]
    kept_pairs: int
    prompts: int
    scales: tuple[float, ...]
    followed: int
    offsets: int

    def sites_patched(self, n_layers: int) -> tuple[str, ...]:
        """The sites `patched` with their layers, as `interp.sites.expand` reads them."""
        at = ",".join(map(str, spaced(n_layers, self.patched_layers)))
        return tuple(f"{name}@{at}" for name in self.patched)

    @property
    def kinds_patched(self) -> int:
        """How many kinds of sites patching tries."""
        return len(self.patched) + self.embeddings


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(
        without=("circuit",),
        twins_only=True,
        scenarios=12,
        layers=6,
        patched_layers=6,
        patched=("resid_post",),
        embeddings=False,
        steered_layers=2,
        pairs=4,
        ks=(4,),
        draws=6,
        tried=4,
        shares=(0.05, 0.5),
        kept_pairs=2,
        prompts=16,
        scales=(1.0, 2.0),
        followed=6,
        offsets=16,
    ),
    "standard": Preset(
        twins_only=False,
        scenarios=None,
        layers=8,
        patched_layers=6,
        patched=("attn_out", "mlp_out", "resid_post"),
        embeddings=False,
        steered_layers=4,
        pairs=8,
        ks=(1, 8),
        draws=12,
        tried=4,
        shares=(0.01, 0.1),
        kept_pairs=2,
        prompts=32,
        scales=(0.5, 1.0, 1.5, 2.0, 3.0),
        followed=12,
        offsets=64,
    ),
    "full": Preset(
        twins_only=False,
        scenarios=None,
        layers=None,
        patched_layers=None,
        patched=("attn_out", "mlp_out", "resid_post"),
        embeddings=True,
        steered_layers=None,
        pairs=8,
        ks=(1, 2, 4, 8),
        draws=100,
        tried=16,
        shares=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
        kept_pairs=8,
        prompts=32,
        scales=(0.5, 1.0, 1.5, 2.0, 3.0),
        followed=200,
        offsets=256,
    ),
}


def find_preset(name: str) -> Preset:
    """The preset called `name`; raises `UsageError` with the names there are."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def spaced(n_layers: int, most: int | None) -> tuple[int, ...]:
    """At most `most` layers out of `n_layers`, evenly spaced, the first and the last among them."""
    if most is None or n_layers <= most:
        return tuple(range(n_layers))
    return tuple(int(layer) for layer in np.linspace(0, n_layers - 1, most).round())


def limited(battery: Battery, preset: Preset) -> Battery:
    """The texts of `battery` that a study under `preset` captures, in the same order.

    Of each emotion the first scenarios that have a twin are kept, in the order of their content: it
    is not the order of a file's rows that chooses. A battery without twins is kept whole.
    """
    pairs = battery.pairs()
    if not pairs or not preset.twins_only:
        return battery
    kept: dict[str, dict[str, None]] = {}
    for pair in in_content_order(pairs):
        groups = kept.setdefault(pair.affective.emotion, {})
        if preset.scenarios is None or len(groups) < preset.scenarios:
            groups[pair.affective.group] = None
    ids = {
        item.id
        for pair in pairs
        if pair.affective.group in kept[pair.affective.emotion]
        for item in pair
    }
    return replace(battery, items=tuple(item for item in battery if item.id in ids))


def left_out(preset: Preset, battery: Battery, n_layers: int) -> list[str]:
    """What a study of this battery, on a model of `n_layers`, leaves out under `preset`, a phrase
    each.
    """
    phrases = [f"the stage {name} (`interp {name}` runs it)" for name in preset.without]
    kept = limited(battery, preset)
    if len(kept) < len(battery):
        phrases.append(f"{len(battery) - len(kept)} of {len(battery)} texts")
    for most, where in (
        (preset.layers, f"of {', '.join(THINNED)}"),
        (preset.patched_layers, "in patching and attribution"),
    ):
        lost = n_layers - len(spaced(n_layers, most))
        if lost:
            phrases.append(f"{lost} of {n_layers} layers {where}")
    if preset.steered_layers is not None and preset.steered_layers < n_layers:
        phrases.append(
            f"steering at more than {preset.steered_layers} of the layers that tell twins apart"
        )
    full = PRESETS["full"]
    if preset.draws < full.draws:
        phrases.append(
            f"{full.draws - preset.draws} of {full.draws} random choices beside an ablation, "
            f"so that the p of one emotion alone is never below 1/{preset.draws + 1}"
        )
    for what, here, there in _counts(preset, full):
        if here < there:
            phrases.append(f"{there - here} of {there} {what}")
    return phrases


def _counts(preset: Preset, full: Preset) -> Sequence[tuple[str, int, int]]:
    return (
        ("kinds of sites in patching", preset.kinds_patched, full.kinds_patched),
        ("pairs per emotion in the causal stages", preset.pairs, full.pairs),
        ("numbers of components that are ablated together", len(preset.ks), len(full.ks)),
        ("heads and neurons that are held against an exact patch", preset.tried, full.tried),
        ("sizes of a circuit", len(preset.shares), len(full.shares)),
        ("prompts that are steered", preset.prompts, full.prompts),
        ("strengths of steering", len(preset.scales), len(full.scales)),
        ("scenarios per emotion that are read on", preset.followed, full.followed),
        ("tokens behind a text that are read", preset.offsets, full.offsets),
    )
