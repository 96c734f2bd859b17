"""Site: the name of a place in a language model, in TransformerLens's own words.

A site is where an activation is recorded and where it is edited: `blocks.5.hook_resid_post`,
`blocks.5.attn.hook_z`. `str` writes the full name, `Site.parse` is its exact inverse, `expand`
turns what a person types (`resid_post`, `resid_post@3-5`, `blocks.2.attn.hook_z[1]`) into sites of
a given model.
"""

import difflib
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from interp.errors import UsageError

_PREFIX = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "z": "attn.hook_z",
    "pattern": "attn.hook_pattern",
    "pre": "mlp.hook_pre",
    "post": "mlp.hook_post",
}
_NAME_OF = {hook: name for name, hook in _PREFIX.items()}
_FULL = re.compile(r"blocks\.(0|[1-9]\d*)\.([a-z_.]+)(?:\[(0|[1-9]\d*)\])?")

SITE_NAMES: tuple[str, ...] = tuple(_PREFIX)
"""All site names, in the order in which a block computes them within each of residual stream,
attention, MLP.
"""

RESIDUAL_WIDE = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
"""Sites whose vectors live in the residual stream's space, so that a direction or a probe can be
read in it.
"""

STREAM = "resid_post"
"""Where directions are fitted: the residual stream after a block, which every later block reads."""

LAST = "last_content"
"""The position rule of the text's last token: where directions are fitted, and where they act."""

_HEADED = ("q", "k", "v", "z", "pattern")


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """A place in a model: `name` (one of `SITE_NAMES`), `layer` (0-based), and for attention sites
    a `head` or None for all.

    Raises `UsageError` for an unknown name, a negative layer, or a head where the site has none.
    """

    name: str
    layer: int
    head: int | None = None

    def __post_init__(self) -> None:
        if self.name not in _PREFIX:
            raise UsageError(_unknown(self.name))
        if self.layer < 0:
            raise UsageError(
                f"layer {self.layer} of site {self.name!r}: layers count from 0, upwards."
            )
        if self.head is not None and (self.name not in _HEADED or self.head < 0):
            raise UsageError(
                f"site {self.name!r} has no head {self.head}: only {', '.join(_HEADED)} have "
                "heads, from 0."
            )

    def __str__(self) -> str:
        suffix = "" if self.head is None else f"[{self.head}]"
        return f"{self.hook}{suffix}"

    @property
    def hook(self) -> str:
        """TransformerLens's hook name, without the head: `blocks.5.attn.hook_z`."""
        return f"blocks.{self.layer}.{_PREFIX[self.name]}"

    @property
    def axes(self) -> tuple[str, ...]:
        """Axis names of the tensor that passes here, head axis dropped when `head` is set."""
        if self.name in RESIDUAL_WIDE:
            return ("batch", "pos", "d_model")
        if self.name in ("pre", "post"):
            return ("batch", "pos", "d_mlp")
        if self.name == "pattern":
            whole: tuple[str, ...] = ("batch", "head", "query_pos", "key_pos")
        else:
            whole = ("batch", "pos", "head", "d_head")
        return whole if self.head is None else tuple(axis for axis in whole if axis != "head")

    @classmethod
    def parse(cls, text: str) -> "Site":
        """The site whose `str` is `text`; raises `UsageError` with the nearest names otherwise."""
        match = _FULL.fullmatch(text)
        if match is None or match[2] not in _NAME_OF:
            raise UsageError(_unknown(text))
        return cls(_NAME_OF[match[2]], int(match[1]), None if match[3] is None else int(match[3]))


def check_names(texts: Iterable[str]) -> None:
    """Raise `UsageError` for the first text that names no site of any model; which layers a model
    has is not asked.
    """
    for text in texts:
        if text.startswith("blocks."):
            Site.parse(text)
        elif text.partition("@")[0] not in _PREFIX:
            raise UsageError(_unknown(text))


def expand(texts: Iterable[str], *, n_layers: int) -> tuple[Site, ...]:
    """Sites of a model with `n_layers` layers, from what a person types; sorted by layer, each
    once.

    A text is a name (`resid_post`: all layers), a name with layers (`resid_post@0,3-5`), or a full
    name (`blocks.2.attn.hook_z`). Raises `UsageError` for an unknown name, a layer that the model
    lacks, or a reversed range.
    """
    named: list[Site] = []
    texts = tuple(texts)
    check_names(texts)
    for text in texts:
        if text.startswith("blocks."):
            named.append(Site.parse(text))
            continue
        name, at, layers = text.partition("@")
        named += [
            Site(name, layer)
            for layer in parse_layers(layers if at else f"0-{n_layers - 1}", n_layers=n_layers)
        ]
    found = set(named)
    if twice := [str(site) for site, times in Counter(named).items() if times > 1]:
        warnings.warn(f"named twice, and taken once: {', '.join(twice[:5])}.", stacklevel=2)
    for site in found:
        _check_layer(site.layer, n_layers)
    order = {name: place for place, name in enumerate(SITE_NAMES)}
    return tuple(
        sorted(
            found,
            key=lambda site: (site.layer, order[site.name], -1 if site.head is None else site.head),
        )
    )


def parse_layers(text: str, *, n_layers: int) -> tuple[int, ...]:
    """Layers out of `3`, `0,2,5` or `1-4` (both ends count), ascending, each once; raises
    `UsageError` otherwise.
    """
    layers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(-?\d+)(?:-(\d+))?", part.strip())
        if match is None:
            raise UsageError(
                f"cannot read the layers {text!r}: write 3, or 0,2,5, or 1-4. {_has(n_layers)}"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(
                f"the range of layers {part.strip()!r} runs backwards: write {last}-{first}. "
                f"{_has(n_layers)}"
            )
        _check_layer(first, n_layers)
        _check_layer(last, n_layers)
        layers.update(range(first, last + 1))
    return tuple(sorted(layers))


def _check_layer(layer: int, n_layers: int) -> None:
    if not 0 <= layer < n_layers:
        raise UsageError(f"layer {layer} is out of range. {_has(n_layers)}")


def _has(n_layers: int) -> str:
    return f"The model has layers 0..{n_layers - 1}."


def _unknown(text: str) -> str:
    stem = text.partition("@")[0].rsplit(".", 1)[-1].removeprefix("hook_")
    near = difflib.get_close_matches(stem, SITE_NAMES, n=3, cutoff=0.3) or list(SITE_NAMES[:3])
    return (
        f"unknown site {text!r}: did you mean {', '.join(near)}? Sites are written resid_post, "
        "resid_post@0-3 or blocks.0.hook_resid_post; `interp sites MODEL` lists what a model "
        "offers."
    )


def site_columns(site: Site | None) -> dict[str, Any]:
    """A site as the columns site, layer and head of a table; None is the whole model."""
    if site is None:
        return {"site": "", "layer": math.nan, "head": math.nan}
    return {
        "site": site.name,
        "layer": site.layer,
        "head": math.nan if site.head is None else site.head,
    }
