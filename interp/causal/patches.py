"""Patches: what a sweep exchanges, at which sites and tokens, and what is told of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interp.capture.positions import parse_position
from interp.causal.restoration import (
    CONTROL,
    COPY,
    KL_TARGET,
    OTHER_EMOTION,
    SAME_NORM,
    SUCCESS,
)
from interp.defaults import PATCH_CONTROLS, PATCH_METRICS, PATCH_MODES, PATCH_POSITIONS
from interp.errors import UsageError
from stimuli.battery import Stimulus

WAYS = ("denoise", "noise")
"""The ways of patching between twins."""

SWAP = "swap"
"""The way of patching between texts of two emotions."""

MODES = (*WAYS, SWAP)

NAMED_PLACES = ("last", "edit", "first", "all")
"""Tokens of a text by name: its last, those in which it differs from the source, its first, and all
of it. A `span(field)` names others.
"""

CONTROLS = (CONTROL, OTHER_EMOTION, SAME_NORM)

MEASURES = ("kl", KL_TARGET, SUCCESS, COPY)

SpanOf = Callable[[Stimulus], Any]
"""Gives what a field of the stimulus would hold that marks a span
(`interp.capture.positions`): words that occur once, or characters `[start, end]`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """What is put into another text's run: the activations at `sites` (texts as
    `interp.sites.expand` reads them) and `positions`, and what is told of it.

    `positions`: one of `NAMED_PLACES`, or `span(field)`, the tokens that a field of the patched
    text marks, as in a capture (`interp.capture.positions`). `spans` gives fields that the stimuli
    lack, each as a function of the stimulus. Each token takes what stands at the source's token
    that corresponds to it (`interp.causal.alignment`). At `all`, the stream restores everything by
    construction.

    `modes`: `denoise` puts the emotional text's into its neutral twin, `noise` the neutral text's
    into the emotional one, `swap` that of a text of one emotion into a text of another
    (`interp.causal.swaps`).

    `controls` stand beside: `random_source`, another scenario's text of the source's emotion;
    `other_emotion`, a text of another emotion; `random_of_same_norm`, random vectors that are as
    long as what they stand for (per head at z).

    `metrics` are told beside the logit difference and what is restored of it: `kl` and `kl_target`,
    the divergence (nats) of the patched run from the source's and from the target's; `success`, the
    share of texts whose likeliest emotion becomes the source's, of those where it was another;
    `copy`, all of these where everything is exchanged at the position, in all layers: the most that
    a patch there can do.

    Raises `UsageError` for an unknown position, mode, control or metric, for no position or mode,
    and for a function in `spans` that no position names.
    """

    sites: Sequence[str] = ("resid_post",)
    positions: Sequence[str] = PATCH_POSITIONS
    modes: Sequence[str] = PATCH_MODES
    controls: Sequence[str] = PATCH_CONTROLS
    metrics: Sequence[str] = PATCH_METRICS
    spans: Mapping[str, SpanOf] = field(default_factory=dict)

    def __post_init__(self) -> None:
        by_name = [one for one in self.positions if not one.startswith("span(")]
        if by_name or not self.positions:
            _require(by_name, NAMED_PLACES, "position", more=" or span(field)")
        _require(self.modes, MODES, "mode")
        for given, known, what in (
            (self.controls, CONTROLS, "control"),
            (self.metrics, MEASURES, "metric"),
        ):
            if given:
                _require(given, known, what)
        marked = {parse_position(one).argument for one in self.positions if one not in by_name}
        unused = [name for name in self.spans if name not in marked]
        if unused:
            raise UsageError(
                f"a function is given for the span {unused[0]!r}, and no position is "
                f"span({unused[0]}): add it to the positions."
            )


def _require(given: Sequence[str], known: Sequence[str], what: str, *, more: str = "") -> None:
    wrong = [word for word in given if word not in known]
    if wrong or not given:
        raise UsageError(
            f"unknown {what} {', '.join(map(repr, wrong)) or '(none given)'}: choose from "
            f"{', '.join(known)}{more}."
        )
