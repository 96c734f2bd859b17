"""The stages of the array half: capture, probes, directions, and the cosines between directions."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

import stimuli
from interp.analysis.baselines import Lexicons, count_listed, words
from interp.analysis.controls import can_compete
from interp.analysis.directions import Direction, fit, held_out_projections, separation
from interp.analysis.lengths import cosine
from interp.analysis.nested import nested_separation
from interp.analysis.stats import weighted_auroc
from interp.analysis.sweep import Task, prepare, sweep, text_predictions, text_rows
from interp.chance import benjamini_hochberg
from interp.errors import StatisticsError, UsageError
from interp.files import make_folder
from interp.progress import track
from interp.sites import RESIDUAL_WIDE, Site
from interp.study.conditions import FEWEST, evoking, scenarios_of
from interp.study.folder import Study
from stimuli.battery import NEUTRAL, Pair, Stimulus

Rows = list[dict[str, Any]]

STREAM = "resid_post"
"""Where directions are fitted: the residual stream after a block, which every later block reads."""

SATURATED = 0.01
"""A site tells as much as the best one when its mean separation is within this of the highest (in AUROC)."""


def capture(study: Study) -> Rows:
    """Record every site of the settings. The result is the store, so there are no rows.

    Raises `StatisticsError` where the battery has twins and none of them can be used.
    """
    # Both look into the store, for which what is not there yet is captured.
    if (study.conditions.twins and not study.pairs) or not study.row_of:
        raise StatisticsError(
            f"battery {study.battery.name!r} has no pair of an affective and a neutral text that could be used."
        )
    return []


def probes(study: Study) -> Rows:
    """Reception and categorisation at every residual-wide site, beside the text baselines on the same folds: all sites under
    the first position rule, the stream under the others too.

    What the battery forbids (`interp.study.conditions`) is left out. Categorisation needs no twins: without any, it is
    asked of all texts that evoke an emotion.
    """
    _sites_among(study, RESIDUAL_WIDE, "probes")  # where there are none, that is told before anything is captured
    rows: Rows = []
    if "reception" not in study.conditions.closed:
        free = [item for pair in study.pairs for item in pair]
        told = ["affective", "neutral"] * len(study.pairs)
        rows += _probe_task(study, _task(study, "reception", free, told), free)
    for question, reason in study.conditions.partly().items():
        warnings.warn(f"{question} was not asked: {reason}", stacklevel=2)
    if "categorisation" in study.conditions.closed:
        return rows
    texts = [pair.affective for pair in study.pairs] if study.conditions.twins else _evoking(study)
    try:
        task = _task(study, "categorisation", texts, [item.emotion for item in texts])
    except StatisticsError as error:
        if not rows:
            raise
        warnings.warn(f"categorisation was not asked: {error}", stacklevel=2)
        return rows
    return rows + _probe_task(study, task, texts)


def _evoking(study: Study) -> list[Stimulus]:
    """The texts that evoke an emotion, of a battery without twins. Left out, with a warning: those of an emotion with fewer
    scenarios than there are folds, or than `FEWEST`.
    """
    texts = [item for item in evoking(study.battery) if item.id in study.row_of]
    fewest = max(FEWEST, study.settings.folds)
    rare = {emotion for emotion, groups in scenarios_of(texts).items() if len(groups) < fewest}
    if rare:
        names = ", ".join(map(repr, sorted(rare)))
        warnings.warn(f"left out, since they have fewer than {fewest} scenarios: {names}.", stacklevel=2)
    return [item for item in texts if item.emotion not in rare]


def directions(study: Study) -> Rows:
    """The paired direction of each emotion at every layer of the stream, its separation of held-out twins, its stability.

    The directions themselves are written to `directions/`, fitted on all pairs.
    """
    stream = _stream(study)
    folder = make_folder(study.out / "directions")
    places = [(emotion, site) for emotion in study.emotions for site in stream]
    rows: Rows = []
    for emotion, site in track(places, "directions", unit="site"):
        pairs = _of(study.pairs, emotion)
        common = {"site": site.name, "layer": site.layer, "emotion": emotion, "position": study.position, "method": "paired"}
        rows += [{**common, **row} for row in _separation(study, pairs, site)]
        fit_direction(study, pairs, emotion, site).save(folder / f"{_file_name(study, emotion)}-{site.layer:02d}.safetensors")
    return rows + _nested_separations(study, stream)


def cosines(study: Study) -> Rows:
    """Cosines between the emotions' directions at each layer where separation saturates. They are differences of twins, so the
    stream's common mean is out of them; what they share beyond that is what all emotions share against neutral.

    `cosine` is that of the directions as fitted, which few pairs drag towards zero; `cosine_corrected` is
    free of that, with its interval over scenarios (`interp.analysis.lengths.cosine`).
    """
    rows: Rows = []
    for site in saturated_sites(study, study.pairs):
        fitted = {emotion: fit_direction(study, study.pairs, emotion, site) for emotion in study.emotions}
        differences = {emotion: _differences(study, _of(study.pairs, emotion), site) for emotion in study.emotions}
        common = {"site": site.name, "layer": site.layer, "position": study.position, "method": "paired"}
        for one, a in fitted.items():
            for other, b in fitted.items():
                here = {**common, "emotion": one, "target": other}
                n = len(_of(study.pairs, one))
                rows.append({**here, "metric": "cosine", "value": float(a.vector @ b.vector), "n": n})
                if one != other:
                    corrected = cosine(differences[one], differences[other])
                    rows.append({**here, "metric": "cosine_corrected", **corrected._asdict()})
    return rows


def choose_site(study: Study, pairs: Sequence[Pair]) -> Site:
    """The first of `saturated_sites`."""
    return saturated_sites(study, pairs)[0]


def saturated_sites(study: Study, pairs: Sequence[Pair]) -> tuple[Site, ...]:
    """The layers of the stream whose separation, averaged over emotions on `pairs`, is within `SATURATED` of the best one's."""
    key = tuple(pair.affective.id for pair in pairs)
    if key not in study.chosen:
        means = {
            site: np.mean([_told_apart(study, _of(pairs, one), site) for one in study.emotions]) for site in _stream(study)
        }
        least = max(means.values()) - SATURATED
        study.chosen[key] = tuple(site for site, mean in means.items() if mean >= least)
    return study.chosen[key]


def fit_direction(study: Study, pairs: Sequence[Pair], emotion: str, site: Site) -> Direction:
    """The paired direction of `emotion` on those of `pairs` that evoke it, with the provenance an intervention asks for."""
    mine = _of(pairs, emotion)
    affective, neutral = _twin_rows(study, mine, site)
    model = study.model.provenance
    provenance = {
        "model": model.get("model"),
        "revision": model.get("revision"),
        "digest": model.get("digest"),
        "chat_template": model.get("chat_template"),
        "battery": study.battery.sha256,
        "position": study.position,
        "operation": "add scale * vector to the residual stream",
        "pairs": len(affective),
    }
    groups = [pair.affective.group for pair in mine]
    return fit(affective, neutral, site=site, labels=(emotion, NEUTRAL), groups=groups, provenance=provenance)


def lexicons() -> Lexicons:
    """The word lists that the text baselines count."""
    negations, function = stimuli.lexicon("negations"), stimuli.lexicon("function_words")
    return {
        "negation": [*negations["plain"], *negations["contracted"]],
        "function_words": [word for words in function.values() for word in words],
    }


def _task(study: Study, name: str, items: Sequence[Stimulus], labels: Sequence[str]) -> Task:
    groups = [item.group for item in items]
    return prepare(name, labels, groups, n_splits=study.settings.folds, seed=study.settings.seed)


def _probe_task(study: Study, task: Task, items: Sequence[Stimulus]) -> Rows:
    rows = np.array([study.row_of[item.id] for item in items])
    wide = _sites_among(study, RESIDUAL_WIDE, "probes")

    def sites() -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        first, *others = study.settings.positions
        cells = [(site, first) for site in wide]
        cells += [(site, position) for position in others for site in wide if site.name == STREAM]
        for site, position in track(cells, f"probes ({task.name})", unit="site"):
            yield {"site": site.name, "layer": site.layer, "position": position}, study.values(site, position)[rows]

    with threadpool_limits(1):  # the fits are small: a second thread waits more than it works
        texts = text_predictions([item.text for item in items], task, lexicons=lexicons())
        swept = sweep(sites(), task, nuisances=_nuisances(task, items), texts=texts)
    for warning in swept.warnings:
        warnings.warn(warning, stacklevel=2)
    return swept.rows + [{"site": "", "position": "", **row} for row in text_rows(texts, task)]


def _nuisances(task: Task, items: Sequence[Stimulus]) -> dict[str, list[str]]:
    """What else a probe could read: the texts' length (in thirds), negation, domain and person.

    What varies too little to be told from scenario to scenario is left out, with a warning.
    """
    sizes = np.array([len(words(item.text)) for item in items])
    thirds = np.searchsorted(np.quantile(sizes, (1 / 3, 2 / 3)), sizes)
    negation = lexicons()["negation"]
    found = {
        "length": [("short", "middle", "long")[third] for third in thirds],
        "negation": [str(count_listed(item.text, negation) > 0) for item in items],
        "domain": [item.domain or "" for item in items],
        "person": [str(item.fields.get("person", "")) for item in items],
    }
    told = {name: labels for name, labels in found.items() if can_compete(labels, task.folds)}
    if lost := [name for name, labels in found.items() if name not in told and len(set(labels)) > 1]:
        warnings.warn(
            f"{task.name}: {', '.join(lost)} of the texts cannot be compared with the emotion: some fold lacks a value.",
            stacklevel=2,
        )
    return told


def _separation(study: Study, pairs: Sequence[Pair], site: Site) -> Rows:
    affective, neutral = _twin_rows(study, pairs, site)
    groups = [pair.affective.group for pair in pairs]
    return separation(affective, neutral, groups, n_splits=_folds(study, groups), seed=study.settings.seed)


def _nested_separations(study: Study, stream: Sequence[Site]) -> Rows:
    """How well each emotion's direction separates where every fold chose its layer; p corrected over the emotions."""
    rows: Rows = []
    for emotion in study.emotions:
        pairs = _of(study.pairs, emotion)
        groups = [pair.affective.group for pair in pairs]
        places = [{"site": site.name, "layer": site.layer} for site in stream]
        twins = [_twin_rows(study, pairs, site) for site in stream]
        found = nested_separation(twins, places, groups, n_splits=_folds(study, groups), seed=study.settings.seed)
        rows += [{**row, "emotion": emotion, "position": study.position, "method": "paired"} for row in found]
    lost = [emotion for emotion in study.emotions if emotion not in {row["emotion"] for row in rows}]
    if lost:
        warnings.warn(f"too few scenarios to choose a layer on some and score it on others: {', '.join(lost)}.", stacklevel=3)
    if rows:
        corrected = benjamini_hochberg(np.array([row["p"] for row in rows])).tolist()
        rows = [{**row, "p_corrected": p} for row, p in zip(rows, corrected, strict=True)]
    return rows


def _told_apart(study: Study, pairs: Sequence[Pair], site: Site) -> float:
    """How often a held-out affective text projects higher than a held-out neutral one of its fold (AUROC)."""
    affective, neutral = _twin_rows(study, pairs, site)
    groups = [pair.affective.group for pair in pairs]
    projection, fold = held_out_projections(
        affective, neutral, groups, n_splits=_folds(study, groups), seed=study.settings.seed
    )
    truth = np.repeat([1.0, 0.0], len(pairs))[None]
    return float(weighted_auroc(projection, truth, 1 - truth, strata=fold)[0])


def _folds(study: Study, groups: Sequence[str]) -> int:
    return min(study.settings.folds, len(set(groups)))


def _twin_rows(
    study: Study, pairs: Sequence[Pair], site: Site
) -> tuple[Float[np.ndarray, "pair d"], Float[np.ndarray, "pair d"]]:
    x = study.values(site, study.position)
    rows = np.array([[study.row_of[pair.affective.id], study.row_of[pair.neutral.id]] for pair in pairs])
    return x[rows[:, 0]], x[rows[:, 1]]


def _differences(study: Study, pairs: Sequence[Pair], site: Site) -> tuple[Float[np.ndarray, "pair d"], list[str]]:
    """The paired differences with their scenarios."""
    affective, neutral = _twin_rows(study, pairs, site)
    return affective - neutral, [pair.affective.group for pair in pairs]


def _stream(study: Study) -> list[Site]:
    return _sites_among(study, (STREAM,), "directions")


def _sites_among(study: Study, names: Sequence[str], what: str) -> list[Site]:
    """The study's sites of these names, which `what` reads; raises `UsageError` with the others' shapes if there is none."""
    sites = study.sites
    found = [site for site in sites if site.name in names]
    if not found:
        kinds = {row["site"]: row for row in study.model.sites()}
        asked = dict.fromkeys(site.name for site in sites)
        here = [f"{name} {kinds[name]['shape']} (accepted by {kinds[name]['accepted_by']})" for name in asked]
        raise UsageError(f"{what} read {' or '.join(names)}; asked for were {'; '.join(here)}. Add --sites {STREAM}.")
    return found


def _of(pairs: Sequence[Pair], emotion: str) -> list[Pair]:
    return [pair for pair in pairs if pair.affective.emotion == emotion]


def _file_name(study: Study, emotion: str) -> str:
    """A file name that no label can turn into a path: the emotion's place in the sorted list, and its plain letters."""
    plain = "".join(letter for letter in emotion if letter.isascii() and letter.isalnum())[:20]
    return f"{study.emotions.index(emotion):02d}-{plain or 'emotion'}"
