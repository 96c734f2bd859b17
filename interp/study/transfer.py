"""The stage `transfer`: a probe fitted on the texts of one arm, tested on those of another; and one
fitted on all values of a field but one, tested on that one.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from interp.analysis.across import prepare_values
from interp.analysis.questions import lexicons
from interp.analysis.refits import SiteRows, Sites
from interp.analysis.spread import spread_by
from interp.analysis.targets import FieldTarget
from interp.analysis.transfer import ArmRows, prepare_arms
from interp.analysis.transfer_rows import transfer_rows, value_rows
from interp.errors import StatisticsError
from interp.results import TableRows
from interp.study.arms import Arms, arms_of
from interp.study.folder import Study
from interp.study.representation import stream_sites
from stimuli.battery import NEUTRAL, UNEMOTIONAL, Pair, Stimulus, in_content_order

AFFECTIVE = "affective"

FITTED = ("keyword_rich", "keyword_free")
"""The arms that probes are fitted on where a battery has both: the paper's question. Others, which
are weaker or stronger keyword_free texts, are then tested only.
"""

ArmText = tuple[Stimulus, str, str]
"""A text, its label, and the arm in which it is asked about."""


def transfer(study: Study) -> TableRows:
    """Reception and categorisation, carried from the arms of `FITTED` to every arm, read at the
    stream by the text's last token; texts that only sound emotional are tested too.

    Then both of the study's twins, across the values of each field that the settings name
    (`across`). An arm with too few scenarios is left out with a warning. Raises `StatisticsError`
    where fewer than two are left, and no value of a field can be left out.
    """
    arms, told = _arms(study)
    if told:
        warnings.warn(told, stacklevel=2)
    rows: TableRows = []
    if len(arms) > 1:
        rows += _carried(study, "reception", _reception(study, arms), unlabelled=NEUTRAL)
        if len(study.emotions) > 1:
            rows += _carried(study, "categorisation", _categorisation(arms))
    else:
        warnings.warn("no probe was carried between arms: there are fewer than two.", stacklevel=2)
    rows += [row for target in study.across for row in _left_out(study, target)]
    if not rows:
        raise StatisticsError(f"fewer than two arms can be compared, or values left out. {told}")
    return rows


def _left_out(study: Study, target: FieldTarget) -> TableRows:
    """Reception and categorisation of the study's twins, each value of a field left out in turn.
    The value of a pair is that of its affective text. What cannot be asked is told by name.
    """
    values = {item.id: word for item, word in zip(target.items, target.words, strict=True)}
    pairs = [pair for pair in study.pairs if pair.affective.id in values]
    if lost := len(study.pairs) - len(pairs):
        told = f"{lost} of {len(study.pairs)} pairs lack the field {target.name} and are not asked."
        warnings.warn(told, stacklevel=3)
    own = [values[pair.affective.id] for pair in pairs]
    asked: list[ArmText] = [
        (item, label, value)
        for pair, value in zip(pairs, own, strict=True)
        for item, label in zip(pair, (AFFECTIVE, NEUTRAL), strict=True)
    ]
    rows = _asked_across(study, "reception", target.name, asked)
    if len(study.emotions) > 1 and "categorisation" not in study.conditions.closed:
        asked = [(p.affective, p.affective.emotion, v) for p, v in zip(pairs, own, strict=True)]
        rows += _asked_across(study, "categorisation", target.name, asked)
    return rows


def _asked_across(study: Study, question: str, field: str, texts: Sequence[ArmText]) -> TableRows:
    """One question of the texts of every value; no rows, and a warning, where it cannot be
    asked.
    """
    settings, (items, labels, values) = study.settings, zip(*texts, strict=True)
    rows = ArmRows(labels, [item.group for item in items], values)
    try:
        task, told = prepare_values(question, rows, n_splits=settings.folds, seed=settings.seed)
        with spread_by(settings.analyse_by):
            swept = value_rows(
                _sites(study, items),
                task,
                field=field,
                texts=[item.text for item in items],
                lexicons=lexicons(),
                probe=settings.probe,
            )
    except StatisticsError as error:
        warnings.warn(f"{question} was not asked across {field}: {error}", stacklevel=4)
        return []
    for warning in (*told, *swept.warnings):
        warnings.warn(f"{warning} (across {field})", stacklevel=4)
    return swept.rows


def _arms(study: Study) -> tuple[Arms, str]:
    """The arms by the texts that were read, in an order that depends on no file, and what is to be
    said of arms that are left out.
    """
    folds, read = study.settings.folds, study.row_of
    found, told = arms_of(study.captured, study.emotions, folds=folds)
    arms: dict[str, list[Pair]] = {
        arm: in_content_order(pair for pair in pairs if all(item.id in read for item in pair))
        for arm, pairs in found.items()
    }
    if len(arms) < 2 and not study.across:
        raise StatisticsError(f"fewer than two arms can be compared. {told}")
    return arms, told


def _reception(study: Study, arms: Arms) -> list[ArmText]:
    """Both texts of every pair of every arm, and behind them those that only sound emotional."""
    texts = [
        (item, label, arm)
        for arm, pairs in arms.items()
        for pair in pairs
        for item, label in zip(pair, (AFFECTIVE, NEUTRAL), strict=True)
    ]
    for arm in UNEMOTIONAL:
        own = [item for item in study.captured.where(arm=arm) if item.id in study.row_of]
        if 0 < len({item.group for item in own}) < study.settings.folds:
            warnings.warn(f"{arm} has too few texts to be tested.", stacklevel=3)
        elif own:
            texts += [(item, NEUTRAL, arm) for item in in_content_order(own)]
    return texts


def _categorisation(arms: Arms) -> list[ArmText]:
    return [
        (pair.affective, pair.affective.emotion, arm)
        for arm, pairs in arms.items()
        for pair in pairs
    ]


def _carried(
    study: Study, question: str, texts: Sequence[ArmText], *, unlabelled: str = ""
) -> TableRows:
    items, labels, arms = zip(*texts, strict=True)
    named = [arm for arm in FITTED if arm in arms]
    task = prepare_arms(
        question,
        ArmRows(labels, [item.group for item in items], arms),
        fit=named if len(named) > 1 else (),
        n_splits=study.settings.folds,
        seed=study.settings.seed,
    )
    with spread_by(study.settings.analyse_by):
        swept = transfer_rows(
            _sites(study, items),
            task,
            texts=[item.text for item in items],
            lexicons=lexicons(),
            unlabelled=unlabelled,
            probe=study.settings.probe,
        )
    for warning in swept.warnings:
        warnings.warn(warning, stacklevel=3)
    return swept.rows


def _sites(study: Study, items: Sequence[Stimulus]) -> Sites:
    """The stream's places with the activations of these texts, by the text's last token."""
    rows = np.array([study.row_of[item.id] for item in items])

    def sites() -> Iterator[SiteRows]:
        for site in stream_sites(study):
            place = {"site": site.name, "layer": site.layer, "position": study.position}
            yield place, study.values(site, study.position)[rows]

    return sites
