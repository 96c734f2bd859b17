"""The stage of probes: what a site tells about the emotion, and about other fields of the texts."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from interp.analysis.beside import beside_named
from interp.analysis.confusions import confusion_rows, told_rows
from interp.analysis.depths import later_rows
from interp.analysis.graded_rows import graded_rows, prepare_graded
from interp.analysis.hierarchy import hierarchy_rows
from interp.analysis.questions import answer, cells, lexicons, reception, task_of
from interp.analysis.refits import Sites
from interp.analysis.site_probes import Sweep, Task
from interp.analysis.soft_rows import prepare_soft, soft_rows
from interp.analysis.spread import spread_by
from interp.analysis.targets import FieldTarget, without_rare
from interp.errors import StatisticsError
from interp.progress import track
from interp.results import TableRow, TableRows
from interp.sites import RESIDUAL_WIDE, Site
from interp.study.conditions import FEWEST, evoking, scenarios_of
from interp.study.control_model import beside_random
from interp.study.folder import Study
from interp.study.representation import sites_among
from stimuli.battery import Stimulus

PREDICTIONS = "probe_predictions"
"""The table of what a probe told of each text."""


def probes(study: Study) -> TableRows:
    """Reception and categorisation at every residual-wide site, beside the text baselines on the
    same folds: all sites under the first position rule, the stream under the others too.

    What the battery forbids (`interp.study.conditions`) is left out. Categorisation needs no twins:
    without any, it is asked of all texts that evoke an emotion. Then the fields of the texts that
    the settings name (`targets`), and their soft labels (`soft`).
    """
    probed(study)  # where there are none, that is told before anything is captured
    with spread_by(study.settings.analyse_by):  # one set of workers for all questions
        return [*_emotions(study), *_fields(study), *_soft(study)]


def _emotions(study: Study) -> TableRows:
    """Reception and categorisation, as far as the battery allows them."""
    rows: TableRows = []
    asked: list[Sweep] = []
    if "reception" not in study.conditions.closed:
        free, told = reception(study.pairs)
        asked.append(_probe_task(study, _task(study, "reception", free, told), free))
        rows += asked[0].rows
    for question, reason in study.conditions.partly().items():
        warnings.warn(f"{question} was not asked: {reason}", stacklevel=2)
    if "categorisation" in study.conditions.closed:
        return rows
    texts = list(study.pairs.affective) if study.conditions.twins else _evoking(study)
    try:
        task = _task(study, "categorisation", texts, [item.emotion for item in texts])
    except StatisticsError as error:
        if not rows:
            raise
        warnings.warn(f"categorisation was not asked: {error}", stacklevel=2)
        return rows
    asked.append(_probe_task(study, task, texts))
    return [*rows, *asked[-1].rows, *_later(asked, study.settings.probe)]


def _later(asked: Sequence[Sweep], probe: str) -> TableRows:
    """How many layers later the depths of categorisation lie than those of reception."""
    if len(asked) < 2:
        return []
    told = {"task": "categorisation", "target": "reception", "method": probe, "control": ""}
    sooner, later = (sweep.depths for sweep in asked)
    pairs = [(one, other) for one in later for other in sooner if one.where == other.where]
    return [{**row, **told} for pair in pairs for row in later_rows(*pair)]


def _evoking(study: Study) -> list[Stimulus]:
    """The texts that evoke an emotion, of a battery without twins. Left out, with a warning: those
    of an emotion with fewer scenarios than there are folds, or than `FEWEST`.
    """
    texts = [item for item in evoking(study.battery) if item.id in study.row_of]
    fewest = max(FEWEST, study.settings.folds)
    rare = {emotion for emotion, groups in scenarios_of(texts).items() if len(groups) < fewest}
    if rare:
        names = ", ".join(map(repr, sorted(rare)))
        warnings.warn(
            f"left out, since they have fewer than {fewest} scenarios: {names}.", stacklevel=2
        )
    return [item for item in texts if item.emotion not in rare]


def _fields(study: Study) -> TableRows:
    """Rows of each field: a number by the graded probe, words by the probe of the emotions. One
    whose scenarios are too few or too unlike is left out, with a warning.
    """
    rows: TableRows = []
    for target in study.targets:
        try:
            read = target.only(
                at for at, item in enumerate(target.items) if item.id in study.row_of
            )
            rows += _field(study, without_rare(read, folds=study.settings.folds))
        except StatisticsError as error:
            warnings.warn(f"{target.name} was not read: {error}", stacklevel=3)
    return rows


def _field(study: Study, target: FieldTarget) -> TableRows:
    settings, items = study.settings, target.items
    if not target.is_graded:
        return _probe_task(study, _task(study, target.name, items, target.words), items).rows
    task = prepare_graded(
        target.name, target.numbers, target.groups, n_splits=settings.folds, seed=settings.seed
    )
    with spread_by(settings.analyse_by):
        return graded_rows(
            _sites(study, items, target.name),
            task,
            [item.text for item in items],
            probe=settings.graded_probe,
            lexicons=lexicons(),
        )


def _soft(study: Study) -> TableRows:
    """Rows of the soft labels; none, and a warning, where the scenarios are too few or alike."""
    if study.soft is None:
        return []
    settings = study.settings
    read = study.soft.only(
        at for at, item in enumerate(study.soft.items) if item.id in study.row_of
    )
    groups = [item.group for item in read.items]
    try:
        task = prepare_soft(
            "soft_labels", read.shares, groups, n_splits=settings.folds, seed=settings.seed
        )
        with spread_by(settings.analyse_by):
            return soft_rows(
                _sites(study, read.items, task.name),
                task,
                [item.text for item in read.items],
                lexicons=lexicons(),
            )
    except StatisticsError as error:
        warnings.warn(f"soft labels were not read: {error}", stacklevel=3)
        return []


def _task(study: Study, name: str, items: Sequence[Stimulus], labels: Sequence[str]) -> Task:
    return task_of(name, items, labels, folds=study.settings.folds, seed=study.settings.seed)


def _probe_task(study: Study, task: Task, items: Sequence[Stimulus]) -> Sweep:
    settings = study.settings
    sites = _sites(study, items, task.name)
    swept = answer(
        task,
        items,
        sites,
        probe=settings.probe,
        executor=settings.analyse_by,
        beside=beside_named(settings.beside),
    )
    for warning in swept.warnings:
        warnings.warn(warning, stacklevel=2)
    if settings.control_model is not None:
        with spread_by(settings.analyse_by):
            swept.rows.extend(beside_random(study, task, items, sites, probed(study)))
    study.beside.setdefault(PREDICTIONS, []).extend(_predicted(swept, task, items, settings.probe))
    return swept


def _predicted(
    swept: Sweep, task: Task, items: Sequence[Stimulus], probe: str
) -> Iterator[TableRow]:
    """Rows of what was told of each text where every fold chose its place, of confusions, and of
    how far it goes: the valence, the family, the emotion.
    """
    if swept.told is None:
        return
    common = {"task": task.name, "method": probe, **swept.place}
    for row in told_rows(swept.told, [item.id for item in items]):
        yield {**common, **row}
    if len(swept.told.classes) > 2:
        for row in confusion_rows(swept.told, seed=task.seed):
            yield {**common, **row}
        for row in hierarchy_rows(swept.told, swept.texts):
            words = row["control"]
            no_place = {"site": "", "layer": np.nan, "position": "", "method": words}
            yield {**common, **row, **(no_place if words else {})}


def _sites(study: Study, items: Sequence[Stimulus], what: str) -> Sites:
    """What the places hold of these texts, place after place."""
    rows = np.array([study.row_of[item.id] for item in items])

    def sites() -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        for site, position in track(probed(study), f"probes ({what})", unit="site"):
            yield (
                {"site": site.name, "layer": site.layer, "position": position},
                study.values(site, position)[rows],
            )

    return sites


def probed(study: Study) -> list[tuple[Site, str]]:
    """The sites that probes read, each with a position; `UsageError` where there are none."""
    return cells(sites_among(study, RESIDUAL_WIDE, "probes"), study.settings.positions)
