"""Stages of the array half: capture, directions, and the cosines between directions."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from interp.analysis import emotion_directions, lengths
from interp.analysis.directions import separation
from interp.analysis.emotion_directions import Scenarios, TwinRows, fit_emotion, origin_of
from interp.analysis.nested import nested_separation
from interp.chance import benjamini_hochberg
from interp.directions import Direction
from interp.errors import StatisticsError, UsageError
from interp.files import make_folder
from interp.progress import track
from interp.results import TableRows
from interp.sites import STREAM, Site
from interp.study.folder import Study
from stimuli.battery import Pairs


def capture(study: Study) -> TableRows:
    """Record every site of the settings. The result is the store, so there are no rows.

    Raises `StatisticsError` where the battery has twins and none of them can be used.
    """
    # Both look into the store, for which what is not there yet is captured.
    if (study.conditions.twins and not study.pairs) or not study.row_of:
        raise StatisticsError(
            f"battery {study.battery.name!r} has no pair of an affective and a neutral text that "
            "could be used."
        )
    return []


def directions(study: Study) -> TableRows:
    """The direction of each emotion at every layer of the stream, its separation of held-out twins,
    its stability.

    The directions themselves are written to `directions/`, fitted on all pairs.
    """
    stream = stream_sites(study)
    folder = make_folder(study.out / "directions")
    places = [(emotion, site) for emotion in study.emotions for site in stream]
    rows: TableRows = []
    for emotion, site in track(places, "directions", unit="site"):
        pairs = study.pairs.of(emotion)
        common = {
            "site": site.name,
            "layer": site.layer,
            "emotion": emotion,
            "position": study.position,
        }
        rows += [{**common, **row} for row in _separation(study, pairs, site)]
        fit_direction(study, pairs, emotion, site).save(
            folder / file_name(emotion, study.emotions, site.layer)
        )
    return rows + _nested_separations(study, stream)


def cosines(study: Study) -> TableRows:
    """Cosines between the emotions' directions at each layer where separation saturates. They are
    made of differences of twins, so the stream's common mean is out of them; what they share beyond
    that is what all emotions share against neutral.

    `cosine` is that of the directions as fitted, which few pairs drag towards zero.
    `cosine_corrected` is free of that, with its interval over scenarios
    (`interp.analysis.lengths.cosine`). It is of the mean paired differences, whichever method found
    the directions: its column `method` says so.
    """
    rows: TableRows = []
    for site in saturated_layers(study, study.pairs):
        fitted = {
            emotion: fit_direction(study, study.pairs, emotion, site) for emotion in study.emotions
        }
        differences = {one: _differences(study, one, site) for one in study.emotions}
        common = {"site": site.name, "layer": site.layer, "position": study.position}
        for one, a in fitted.items():
            for other, b in fitted.items():
                here = {**common, "emotion": one, "target": other}
                n = len(study.pairs.of(one))
                found = {"metric": "cosine", "value": float(a.vector @ b.vector), "n": n}
                rows.append({**here, "method": a.method, **found})
                if one != other:
                    corrected = lengths.cosine(differences[one], differences[other])
                    told = {"metric": "cosine_corrected", **corrected._asdict()}
                    rows.append({**here, "method": lengths.OF, **told})
    return rows


def choose_site(study: Study, pairs: Pairs) -> Site:
    """The first of `saturated_layers`."""
    return saturated_layers(study, pairs)[0]


def saturated_layers(study: Study, pairs: Pairs) -> tuple[Site, ...]:
    """The layers of the stream that tell the twins of `pairs` apart as well as the best one."""
    key = tuple(item.id for item in pairs.affective)
    if key not in study.chosen:
        mine = [pairs.of(emotion) for emotion in study.emotions]

        def twins_at(site: Site) -> Iterator[tuple[TwinRows, Scenarios]]:
            return ((study.twins(site, part), part.groups) for part in mine)

        study.chosen[key] = emotion_directions.saturated_sites(
            stream_sites(study),
            twins_at,
            method=study.settings.direction,
            n_splits=study.settings.folds,
            seed=study.settings.seed,
        )
    return study.chosen[key]


def fit_direction(study: Study, pairs: Pairs, emotion: str, site: Site) -> Direction:
    """The direction of `emotion` on those of `pairs` that evoke it, with the provenance that an
    intervention asks for.
    """
    mine = pairs.of(emotion)
    model, battery = study.model.provenance, study.battery.sha256
    return fit_emotion(
        study.twins(site, mine),
        site=site,
        emotion=emotion,
        groups=mine.groups,
        origin=origin_of(model, battery=battery, position=study.position),
        method=study.settings.direction,
    )


def _separation(study: Study, pairs: Pairs, site: Site) -> TableRows:
    return separation(
        *study.twins(site, pairs),
        pairs.groups,
        method=study.settings.direction,
        n_splits=_folds(study, pairs.groups),
        seed=study.settings.seed,
    )


def _nested_separations(study: Study, stream: Sequence[Site]) -> TableRows:
    """How well each emotion's direction separates where every fold chose its layer; p corrected
    over the emotions.
    """
    rows: TableRows = []
    for emotion in study.emotions:
        pairs = study.pairs.of(emotion)
        groups = pairs.groups
        places = [{"site": site.name, "layer": site.layer} for site in stream]
        twins = [study.twins(site, pairs) for site in stream]
        found = nested_separation(
            twins,
            places,
            groups,
            method=study.settings.direction,
            n_splits=_folds(study, groups),
            seed=study.settings.seed,
        )
        rows += [{**row, "emotion": emotion, "position": study.position} for row in found]
    lost = [
        emotion for emotion in study.emotions if emotion not in {row["emotion"] for row in rows}
    ]
    if lost:
        warnings.warn(
            "too few scenarios to choose a layer on some and score it on others: "
            f"{', '.join(lost)}.",
            stacklevel=3,
        )
    if rows:
        corrected = benjamini_hochberg(np.array([row["p"] for row in rows])).tolist()
        rows = [{**row, "p_corrected": p} for row, p in zip(rows, corrected, strict=True)]
    return rows


def _folds(study: Study, groups: Sequence[str]) -> int:
    return min(study.settings.folds, len(set(groups)))


def _differences(
    study: Study,
    emotion: str,
    site: Site,
) -> tuple[Float[np.ndarray, "pair d"], tuple[str, ...]]:
    """The paired differences of an emotion with their scenarios."""
    pairs = study.pairs.of(emotion)
    affective, neutral = study.twins(site, pairs)
    return affective - neutral, pairs.groups


def stream_sites(study: Study) -> list[Site]:
    """The sites of the stream, where directions are fitted; `UsageError` where there are none."""
    return sites_among(study, (STREAM,), "directions")


def sites_among(study: Study, names: Sequence[str], what: str) -> list[Site]:
    """The study's sites of these names, which `what` reads; raises `UsageError` with the others'
    shapes if there is none.
    """
    sites = study.sites
    found = [site for site in sites if site.name in names]
    if not found:
        kinds = {row["site"]: row for row in study.model.sites()}
        asked = dict.fromkeys(site.name for site in sites)
        here = [
            f"{name} {kinds[name]['shape']} (accepted by {kinds[name]['accepted_by']})"
            for name in asked
        ]
        raise UsageError(
            f"{what} read {' or '.join(names)}; asked for were {'; '.join(here)}. Add --sites "
            f"{STREAM}."
        )
    return found


def file_name(emotion: str, emotions: Sequence[str], layer: int) -> str:
    """A direction's file name, which no label can turn into a path: the emotion's place among the
    sorted `emotions`, its plain letters, and the layer.
    """
    plain = "".join(letter for letter in emotion if letter.isascii() and letter.isalnum())[:20]
    return f"{emotions.index(emotion):02d}-{plain or 'emotion'}-{layer:02d}.safetensors"
