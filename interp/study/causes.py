"""The stages of the model half: patching, contributions, ablation, steering.

Everything chosen (the layer, the components, the strength) is chosen on one half of the scenarios;
what is reported was measured on the other.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float

from interp.causal.ablation import ablate
from interp.causal.bench import Bench
from interp.causal.contributions import KINDS, EmotionTwins, contribution_rows, ranked
from interp.causal.patches import SWAP, Patches
from interp.causal.patching import patch_pairs
from interp.causal.pooled import ALL
from interp.causal.steering import dose_response
from interp.causal.steering_sweep import Place, sweep
from interp.chance import draws_for
from interp.directions import Direction
from interp.errors import UsageError
from interp.evaluation.agreement import agreement_rows
from interp.evaluation.judges import judges_of
from interp.models.checks.reliance import tell_refused, usable
from interp.models.generation import Decoding
from interp.results import TableRows
from interp.sites import Site
from interp.study import power
from interp.study.folder import Study
from interp.study.presets import spaced
from interp.study.representation import choose_site, fit_direction, saturated_layers
from stimuli.battery import Pairs, Stimulus
from stimuli.splits import balanced, whole_scenarios

LISTENS = 0.5
LISTENED_PAIRS = 4
"""The share of the most that patching restores, and the pairs of each emotion in which it is asked,
for a layer to be one to which the rest of the model listens.
"""

NEW_TOKENS = 12
LISTED = 60
"""Components of each kind that the contributions table lists for each emotion, the strongest
first.
"""


def patching(study: Study) -> TableRows:
    """Activation patching between twins, sites x layers, at the text's last token and at the edit.

    Before anything is patched it is asked whether these pairs can show half of what the model makes
    of them; where not, that is warned of. Texts of two emotions are those of whole scenarios, where
    scenarios are told under several.
    """
    readout, limits, seed = study.readout.readout, study.settings.limits, study.settings.seed
    embeddings = ["resid_pre@0"] if limits.embeddings else []
    sublayers = limits.sites_patched(study.model.dims.n_layers)
    asked = study.settings.patches([*embeddings, *sublayers])
    twins = tuple(mode for mode in asked.modes if mode != SWAP)
    swaps = tuple(mode for mode in asked.modes if mode == SWAP)
    rows: TableRows = []
    for modes, draw in ((twins, balanced), (swaps, whole_scenarios)):
        if modes:
            pairs = asked_pairs(study, study.pairs, draw=draw)
            before = None if rows else partial(_doubt, pairs, seed=seed)
            own = replace(asked, modes=modes)
            rows += patch_pairs(study.model, pairs, readout, own, seed=seed, before=before)
    return rows


def _doubt(pairs: Pairs, effects: Float[np.ndarray, " pair"], *, seed: int) -> None:
    """Warn where these pairs cannot show half of what the model makes of them."""
    said = power.doubt(effects, pairs, seed=seed)
    if said is not None:
        warnings.warn(said, stacklevel=2)


def contributions(study: Study) -> TableRows:
    """Exact contributions of heads and neurons to each emotion's direction: direction and ranks are
    of one half of the pairs, values and intervals of the other.
    """
    chosen, reported = study.pairs.split(seed=study.settings.seed)
    return [
        row
        for emotion in study.emotions
        for row in _contributions(study, chosen, emotion, top=LISTED, reported=reported)
    ]


def ablation(study: Study) -> TableRows:
    """The top k heads and neurons of the choosing half, knocked out in the other half, beside
    random k of the same layers.
    """
    chosen, reported = study.pairs.split(seed=study.settings.seed)
    site = listening_site(study, chosen)
    vectors = _directions(study, chosen, site)
    bench = Bench(study.model, asked_pairs(study, reported), vectors, study.readout.readout)
    listed = {
        emotion: _contributions(study, chosen, emotion, top=LISTED)
        for emotion in study.readout.emotions
    }
    limits = study.settings.limits
    n_draws = max(limits.draws, draws_for(len(study.emotions)))
    orders = [
        {one: ranked(found, component=kind, emotion=one) for one, found in listed.items()}
        for kind in KINDS
    ]
    shown = [order for order in orders if any(order.values())]  # contributions warned of the others
    rows = ablate(
        bench,
        *shown,
        ks=limits.ks,
        mode=study.settings.ablate_with,
        n_draws=n_draws,
        seed=study.settings.seed,
    )
    return [{**row, "direction_layer": site.layer} for row in rows]


def steering(study: Study) -> TableRows:
    """Each emotion's direction, fitted on the choosing half, added while the model reads and
    continues neutral texts.

    Where there are judges (those that were asked for, else a testbed's oracle), continuations are
    generated and judged, and layer, positions and strength are chosen on half of the prompts, by
    the first judge; all texts are left in the table `steered_texts`. For every model the readout's
    log-probability of the emotion's words is measured against the strength, at the first layer
    where separation saturates.
    """
    chosen, reported = study.pairs.split(seed=study.settings.seed)
    vectors = _directions(study, chosen, choose_site(study, chosen))
    limits = study.settings.limits
    neutral = balanced(reported, n=limits.prompts, seed=study.settings.seed).neutral
    asked = {emotion: vectors[emotion] for emotion in study.readout.emotions}
    rows = dose_response(
        study.model,
        neutral,
        asked,
        study.readout.readout,
        scales=limits.scales,
        seed=study.settings.seed,
    )
    judges = judges_of(study.settings.judge, study.model, study.readout.readout)
    if judges:
        swept = sweep(
            study.model,
            neutral,
            steering_places(study, chosen),
            judges,
            scales=limits.scales,
            decoding=Decoding(max_new_tokens=NEW_TOKENS, seed=study.settings.seed),
        )
        study.beside["steered_texts"] = swept.texts
        rows += [*swept.rows, *_agreement(study, swept.texts, neutral)]
    return rows


def _agreement(study: Study, texts: TableRows, prompts: Sequence[Stimulus]) -> TableRows:
    """How far the judges agree on the texts that are reported, controls included."""
    group_of = {item.id: item.group for item in prompts}
    told = [row for row in texts if row["half"] == "report"]
    verdicts: dict[str, list[str | None]] = {}
    for row in told:
        verdicts.setdefault(row["judge"], []).append(row["verdict"] or None)
    groups = [group_of[row["item"]] for row in told if row["judge"] == told[0]["judge"]]
    place = {name: told[0][name] for name in ("site", "layer", "method", "where", "position")}
    return [
        {**place, "half": "report", "emotion": ALL, **row}
        for row in agreement_rows(verdicts, groups)
    ]


def steering_places(study: Study, pairs: Pairs) -> list[Place]:
    """Where steering is tried: of the layers that tell twins apart best as many as the preset
    allows, at the last token alone or at all from there, towards the emotions that a judge has
    words for.
    """
    found = saturated_layers(study, pairs)
    tried = spaced(len(found), study.settings.limits.steered_layers)
    asked = [emotion for emotion in study.emotions if emotion in study.readout.emotions]
    return [
        Place({emotion: fit_direction(study, pairs, emotion, site) for emotion in asked}, where)
        for site in [found[place] for place in tried]
        for where in (("last",), ("last", "generated"))
    ]


def asked_pairs(
    study: Study,
    pairs: Pairs,
    *,
    each: int | None = None,
    draw: Callable[..., Pairs] = balanced,
) -> Pairs:
    """Those of the emotions that the model has words for, at most `each` per emotion (by default as
    many as the preset allows), as `draw` chooses them.
    """
    mine = Pairs(pair for pair in pairs if pair.affective.emotion in study.readout.emotions)
    most = (study.settings.limits.pairs if each is None else each) * len(study.emotions)
    return draw(mine, n=most, seed=study.settings.seed)


def listening_site(study: Study, pairs: Pairs) -> Site:
    """Where it is read what heads and neurons write: of the layers that tell the twins of `pairs`
    apart as well as the best, the last one to which the rest of the model still listens. What
    writes the emotion may stand behind the first of them, and is not seen there; what is written
    later than this has no reader.

    The rest listens where the last token's stream, put from the emotional text into its twin,
    brings back at least `LISTENS` of the most that it does at any of them (`_brought_back`). Where
    that cannot be asked it is the middle one of them.
    """
    key = ("listening site", *(item.id for item in pairs.affective))
    if key not in study.chosen:
        found = saturated_layers(study, pairs)
        tried = [found[place] for place in spaced(len(found), study.settings.limits.patched_layers)]
        back = _brought_back(study, pairs, tried) if len(found) > 1 else {}
        most = max(back.values(), default=0.0)
        heard = [site for site in tried if most > 0 and back[site] >= LISTENS * most]
        study.chosen[key] = (heard[-1] if heard else study.unheard(found),)
    return study.chosen[key][0]


def _brought_back(study: Study, pairs: Pairs, sites: Sequence[Site]) -> dict[Site, float]:
    """Of each site how much of the readout's difference patching restores at the last token, all
    emotions together; empty where the model has no words for them, where a patch does not act, and
    where its answer to these texts does not surely differ from that to their twins.
    """
    if "readout" in study.conditions.closed or usable(study.model, "patching", sites)[1]:
        return {}
    asked = asked_pairs(study, pairs, each=LISTENED_PAIRS)
    patches = Patches(
        sites=[str(site) for site in sites], positions=("last",), modes=("denoise",), controls=(),
        metrics=(),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the stage of patching tells them
        rows = patch_pairs(
            study.model, asked, study.readout.readout, patches, seed=study.settings.seed
        )
    shares = {
        Site(row["site"], row["layer"]): float(row["value"])
        for row in rows
        if row["metric"] == "restoration" and row["emotion"] == ALL
    }
    return {} if any(math.isnan(share) for share in shares.values()) else shares


def _directions(study: Study, pairs: Pairs, site: Site) -> dict[str, Direction]:
    return {emotion: fit_direction(study, pairs, emotion, site) for emotion in study.emotions}


def _contributions(
    study: Study,
    pairs: Pairs,
    emotion: str,
    *,
    top: int,
    reported: Pairs | None = None,
) -> TableRows:
    """Components as `pairs` rank them; what they do is told of the pairs `reported`, where
    given.
    """
    direction = fit_direction(study, pairs, emotion, listening_site(study, pairs))
    sites = _contributing(study, range(direction.site.layer + 1))
    activations = {site: study.values(site, study.position) for site in sites}
    twins = _of_emotion(study, pairs, emotion)
    told = None if reported is None else _of_emotion(study, reported, emotion)
    return contribution_rows(
        study.model,
        activations,
        twins,
        direction,
        top=top,
        report=told,
    )


def _contributing(study: Study, layers: Iterable[int]) -> list[Site]:
    """The heads and neurons of `layers` whose contributions can be read; others are warned of."""
    sites = [Site(name, layer) for layer in layers for name in KINDS.values()]
    found, refused = usable(study.model, "contributions", sites)
    if not found:
        raise UsageError(tell_refused(refused))
    if refused:
        warnings.warn(tell_refused(refused), stacklevel=2)
    return found


def _of_emotion(study: Study, pairs: Pairs, emotion: str) -> EmotionTwins:
    """Those of `pairs` that evoke the emotion, by their items' rows in the study."""
    mine = pairs.of(emotion)
    rows = [[study.row_of[item.id] for item in pair] for pair in mine]
    return EmotionTwins(emotion, np.array(rows), mine.groups)
