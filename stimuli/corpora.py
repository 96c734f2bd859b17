"""Published sets of emotional texts, known by their own columns, each turned into drafts.

GoEmotions (Demszky et al. 2020) with label numbers, label names or one column per emotion; ISEAR
(Scherer & Wallbott 1994); enISEAR with or without appraisals (Troiano et al. 2019, Hofmann et al.
2020); EmoBank (Buechel & Hahn 2017).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stimuli.battery import NEUTRAL
from stimuli.drafts import Converter, Draft, arm_of, blank, default_id
from stimuli.labels import known_labels, plain_label
from stimuli.rows import FileRow, Ledger

EMOBANK_MIDDLE, EMOBANK_REACH = 3.0, 0.5
"""The middle of EmoBank's scales from 1 to 5, and how far from it valence still rounds to it."""

_NUMBERS = re.compile(r"\s*\[?\s*\d+(?:[\s,]+\d+)*\s*\]?\s*")
_LIST_OF_NAMES = re.compile(
    r"\s*\[\s*(?:'[^']*'|\"[^\"]*\")(?:[\s,]+(?:'[^']*'|\"[^\"]*\"))*\s*\]\s*"
)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_ISEAR_BREAK = re.compile(r"\s*á\s*\n\s*|\s*á\s*$")
_YES, _NO = (1, "1", "1.0", "True", "true"), (0, "0", "0.0", "False", "false", "", None)
_LEAST_RATERS = 2
_FEWEST_LABELS = 3


def find_corpus(columns: Iterable[str]) -> tuple[str, Converter] | None:
    """The name and converter of the corpus with these columns; None when there is none."""
    low = {str(column).strip().casefold() for column in columns}
    if {"prior_emotion", "sentence"} <= low:
        return "enISEAR", enisear
    if "emotion" in low:
        return None
    if "sit" in low and low & {"emot", "field1"}:
        return "ISEAR", isear
    if {"text", "labels"} <= low:
        return "texts with label lists", labelled
    if "text" in low and len(low & known_labels()) >= _FEWEST_LABELS:
        return "one column per emotion", one_column_each
    if {"text", "v", "a", "d"} <= low:
        return "EmoBank", emobank
    return None


def labelled(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    """Texts with a list of labels, numbers or names; those with exactly one are kept, the others
    are counted, and the count becomes a warning.
    """
    for row in rows:
        values = dict(row.values)
        written = values.pop("labels")
        if "id" not in values:
            values["id"] = default_id(row)
        labels = _labels(row, written)
        draft = Draft(row, values, {"emotion": "labels"}, data_set="GoEmotions")
        if len(labels) == 1 and isinstance(labels[0], str):
            values.update(emotion=labels[0], arm=arm_of(labels[0]))
        elif labels and all(isinstance(label, int) for label in labels):
            draft.codes = tuple(labels)
        else:
            ledger.dropped["carry several labels" if labels else "carry no label"] += 1
            continue
        yield draft


def _labels(row: FileRow, written: Any) -> list[Any]:
    if isinstance(written, str):
        if _LIST_OF_NAMES.fullmatch(written):
            return [one or other for one, other in _QUOTED.findall(written)]
        if _NUMBERS.fullmatch(written):
            return [int(number) for number in re.findall(r"\d+", written)]
        if not written.strip(" []"):
            return []
        row.fail("labels", f"{written!r} is no list of label numbers or of names in quotes.")
    found = written if isinstance(written, list) else [written]
    if all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in found):
        return found
    if not (found and all(isinstance(one, str) for one in found)):
        row.fail("labels", f"{written!r} is no list of label numbers or names.")
    return found


def one_column_each(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    """Texts with one column of 0 and 1 per emotion, in one row per rater or one per text.

    Where several raters judged a text, a label counts that two of them chose (the rule of
    GoEmotions). Texts with exactly one label are kept, the others are counted.
    """
    first: dict[str, FileRow] = {}
    votes: dict[str, Counter[str]] = {}
    raters: Counter[str] = Counter()
    for row in rows:
        name = str(row.values.get("id") or default_id(row))
        known = first.setdefault(name, row)
        if known.values["text"] != row.values["text"]:
            row.fail("id", f"the id {name!r} stands for another text at {known.at('text')}.")
        raters[name] += 1
        votes.setdefault(name, Counter()).update(_chosen(row))
    needed = _LEAST_RATERS if max(raters.values(), default=1) > 1 else 1
    if needed > 1:
        ledger.note(f"a label counts that {needed} raters chose")
    for name, row in first.items():
        labels = [label for label, count in votes[name].items() if count >= needed]
        if len(labels) != 1:
            reason = "carry several labels" if labels else "carry no label that counts"
            ledger.dropped[reason] += raters[name]
            continue
        if raters[name] > 1:
            ledger.dropped["are another rater's row of a text"] += raters[name] - 1
        emotions = {column for column in row.values if str(column).casefold() in known_labels()}
        values = {column: v for column, v in row.values.items() if column not in emotions}
        values.update(id=name, emotion=labels[0], arm=arm_of(labels[0]))
        yield Draft(row, values, {"emotion": labels[0]})


def _chosen(row: FileRow) -> Iterator[str]:
    if row.values.get("example_very_unclear") in _YES:
        return
    for column, value in row.values.items():
        label = str(column).strip().casefold()
        if label not in known_labels():
            continue
        if value in _YES:
            yield label
        elif value not in _NO:
            row.fail(column, f"{value!r} in the column of an emotion; expected 0 or 1.")


def isear(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    """Situations in people's own words; the emotion's name stands in Field1, its number in EMOT."""
    for row in rows:
        low = {str(column).strip().casefold(): column for column in row.values}
        values = {column: v for column, v in row.values.items() if column != low["sit"]}
        text = row.values[low["sit"]]
        if isinstance(text, str) and "á" in text:
            ledger.note("ISEAR's line breaks, written as á, were read as blanks")
            text = _ISEAR_BREAK.sub(" ", text).strip()
        if "id" in values:  # the person's, of whom there are seven rows
            values["ID"] = values.pop("id")
        values.update(id=str(values.get("MYKEY") or default_id(row)), text=text)
        label = row.values.get(low.get("field1", ""))
        columns = {"text": low["sit"], "emotion": low.get("emot", low.get("field1", ""))}
        if isinstance(label, str) and plain_label(label) and not label.strip().isdecimal():
            values.update(emotion=plain_label(label), arm=arm_of(plain_label(label)))
            yield Draft(row, values, columns)
            continue
        number = row.values.get(low.get("emot", ""))
        if not str(number).strip().isdecimal():
            row.fail(columns["emotion"], f"{number!r} is no number of an emotion.")
        yield Draft(row, values, columns, codes=(int(str(number)),), data_set="ISEAR")


def enisear(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    """Descriptions of events that caused an emotion; appraisals and the rest are kept in
    `fields`.
    """
    for row in rows:
        low = {str(column).strip().casefold(): column for column in row.values}
        taken = {low["prior_emotion"], low["sentence"]}
        values = {column: v for column, v in row.values.items() if column not in taken}
        name = blank(row.values.get(low.get("sentence_id", ""))) or values.get("id")
        label = row.values[low["prior_emotion"]]
        emotion = plain_label(label) if isinstance(label, str) else label
        text = row.values[low["sentence"]]
        values.update(id=str(name or default_id(row)), text=text, emotion=emotion)
        values["arm"] = arm_of(emotion)
        yield Draft(row, values, {"text": low["sentence"], "emotion": low["prior_emotion"]})


def emobank(rows: Iterable[FileRow], ledger: Ledger) -> Iterator[Draft]:
    """Texts rated for valence, arousal and dominance from 1 to 5, and no emotion named.

    The label is valence, rounded: negative below 2.5, positive above 3.5, neutral between. That it
    was made here is a finding; the ratings are kept in `fields`.
    """
    told = False
    for row in rows:
        valence = _rating(row, row.values)
        if not told:
            ledger.find(
                "labels were made here, the file names no emotion",
                "negative, neutral or positive by valence rounded to the middle of its scale",
            )
            told = True
        away = valence - EMOBANK_MIDDLE
        emotion = "positive" if away > 0 else "negative"
        if abs(away) <= EMOBANK_REACH:
            emotion = NEUTRAL
        values = {**row.values, "emotion": emotion, "arm": arm_of(emotion)}
        if "id" not in values:
            values["id"] = default_id(row)
        yield Draft(row, values)


def _rating(row: FileRow, values: Mapping[str, Any]) -> float:
    column = next(name for name in values if str(name).strip().casefold() == "v")
    try:
        rating = float(values[column])
    except (TypeError, ValueError):
        rating = float("nan")
    if not 1 <= rating <= 5:
        row.fail(column, f"{values[column]!r} is no rating from 1 to 5.")
    return rating
