"""Judges: which emotion a continuation expresses, by more than one way of telling.

A judge takes continuations and gives for each the emotion it expresses, `MIXED` for a proper
sentence that expresses no one emotion, or None for what is no sentence of the model's language. To
add a judge, write its maker and its line in `JUDGES`.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import stimuli
from interp.causal.readout import Readout
from interp.causal.steered_texts import Judge
from interp.errors import DataError, UsageError
from interp.evaluation.chat_address import read_address
from interp.evaluation.endpoint import endpoint
from interp.evaluation.forced_choice import forced_choice
from interp.evaluation.readouts import Named, find_testbed, readout_for
from interp.evaluation.text_classifiers import classifier, embedding
from interp.files import read_regular
from interp.models import LanguageModel, load
from interp.testbeds.records import MIXED
from stimuli.battery import NEUTRAL
from stimuli.words import emotion_words

Maker = Callable[[LanguageModel, Readout, str], Judge]
"""The unsteered model, the readout that names the emotions, and what stands behind the judge's name
-> the judge.
"""

MASK = "___"
"""What stands in the place of an emotion word that a masked judge is not shown."""

_MOST = 1 << 24
"""Bytes of a word list."""


class JudgeKind(NamedTuple):
    """A line of `JUDGES`: its maker, what may stand behind its name and a colon (nothing, if
    empty), whether that is needed, and what raises `UsageError` for what cannot stand there.
    """

    make: Maker
    behind: str = ""
    needed: bool = False
    check: Callable[[str], object] | None = None


def oracle(model: LanguageModel, readout: Readout, behind: str = "") -> Judge:
    """The testbed's own reader of its language, which knows the grammar and does not ask the model.

    Raises `UsageError` for a model that is no testbed: nobody knows its language.
    """
    return oracle_of(model)


def oracle_of(model: Named) -> Judge:
    """The oracle of a testbed; raises `UsageError` for a model that is none."""
    judge = judge_for(model)
    if judge is None:
        name = model if isinstance(model, str) else model.name
        others = ", ".join(judge for judge in JUDGES if judge != oracle.__name__)
        raise UsageError(f"{name} has no oracle: only testbeds do. Judges for any model: {others}.")
    return judge


def judge_for(model: Named) -> Judge | None:
    """The oracle of a testbed; None for a model whose language nobody knows."""
    bed = find_testbed(model)
    if bed is None:
        return None
    return bed.judge or word_judge(bed.words)


def model_judge(model: LanguageModel, readout: Readout, behind: str = "") -> Judge:
    """The emotion whose words a model expects most behind the continuation
    (`interp.evaluation.forced_choice`): the unsteered model itself, or the one named `behind`.
    """
    if not behind:
        return forced_choice(model, readout)
    other = load(behind, chat_template="off")
    return forced_choice(other, readout_for(other, readout.emotions))


def lexicon_judge(model: LanguageModel, readout: Readout, behind: str = "") -> Judge:
    """The emotion whose words stand most often in the continuation (`word_judge`): the readout's
    words and those of `stimuli.lexicon("emotions")`, or a JSON file with words by emotion.

    Raises `UsageError` for a file that cannot be read, `DataError` for one that holds no such
    lists.
    """
    return word_judge(_read_words(behind) if behind else known_words(readout))


def known_words(readout: Readout) -> dict[str, list[str]]:
    """The words of each of the readout's emotions, its own and those of the package's list that
    seldom name anything but a feeling; where the two place a word differently, the readout is
    right.
    """
    left_out = {word.lower() for words in readout.words.values() for word in words}
    left_out.update(stimuli.lexicon("everyday_senses")["words"])
    listed = emotion_words()
    return {
        emotion: [*words, *(one for one in listed.get(emotion, ()) if one.lower() not in left_out)]
        for emotion, words in readout.words.items()
    }


def word_judge(words: Mapping[str, Sequence[str]]) -> Judge:
    """A judge by words of each emotion: the emotion whose words stand most often in the
    continuation.

    `neutral` where none stands, `MIXED` where two emotions tie, None for an empty continuation.
    """
    emotion_of = {word.lower(): emotion for emotion, listed in words.items() for word in listed}

    def verdict(continuation: str) -> str | None:
        found = re.findall(r"\w+", continuation.lower())
        counts = Counter(emotion_of[word] for word in found if word in emotion_of)
        if not counts:
            return NEUTRAL if found else None
        (first, most), *others = counts.most_common(2)
        return MIXED if others and others[0][1] == most else first

    return lambda continuations: [verdict(continuation) for continuation in continuations]


def masked(model: LanguageModel, readout: Readout, behind: str) -> Judge:
    """The judge named `behind`, which is shown `MASK` in the place of every emotion word: those of
    the readout, and all of the package's list. Success that is left is more than naming the
    emotion.
    """
    judge = judge_called(behind, model, readout)
    listed = [*readout.words.values(), *emotion_words().values()]
    words = sorted({word for words in listed for word in words}, key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
    return lambda continuations: judge([pattern.sub(MASK, one) for one in continuations])


JUDGES: dict[str, JudgeKind] = {
    "oracle": JudgeKind(oracle),
    "forced_choice": JudgeKind(model_judge, "MODEL"),
    "lexicon": JudgeKind(lexicon_judge, "FILE"),
    "classifier": JudgeKind(classifier, "MODEL", needed=True),
    "embedding": JudgeKind(embedding, "BATTERY", needed=True),
    "endpoint": JudgeKind(endpoint, "MODEL@URL", needed=True, check=read_address),
    "masked": JudgeKind(masked, "JUDGE", needed=True),
}
"""The kinds of judges by name. A study asks those that `--judge` names: `forced_choice`,
`classifier:FOLDER`, `masked:lexicon`.
"""


def judges_of(asked: str | None, model: LanguageModel, readout: Readout) -> dict[str, Judge]:
    """The judges named in `asked`, between commas, under these names. Where none is named, a
    testbed's oracle, and for other models nobody.

    Raises `UsageError` as `check_judges`, and as their makers.
    """
    if asked is None:
        own = judge_for(model)
        return {} if own is None else {oracle.__name__: own}
    return {name: judge_called(name, model, readout) for name in _names(asked)}


def judge_called(name: str, model: LanguageModel, readout: Readout) -> Judge:
    """The judge of this name. Raises as `judges_of`."""
    check_judge(name)
    kind, _, behind = name.partition(":")
    return JUDGES[kind].make(model, readout, behind)


def check_judges(asked: str | None, model: Named) -> None:
    """Raise `UsageError` for what `asked` names and cannot be, as far as that can be told without
    the model: an unknown name, something missing or too much behind it, an oracle of no testbed.
    """
    for name in _names(asked or ""):
        if check_judge(name) == oracle.__name__:
            oracle_of(model)


def check_judge(name: str) -> str:
    """The kind of the judge called `name`, inside of masks. Raises as `check_judges`."""
    kind, colon, behind = name.partition(":")
    if kind not in JUDGES:
        raise UsageError(f"unknown judge {name!r}: choose one of {', '.join(JUDGES)}.")
    known = JUDGES[kind]
    if known.needed and not behind:
        raise UsageError(f"the judge {kind!r} needs a name behind it: write {kind}:{known.behind}.")
    if colon and not (known.behind and behind):
        wanted = f" or {kind}:{known.behind}" if known.behind else ""
        raise UsageError(f"cannot read the judge {name!r}: write {kind}{wanted}.")
    if known.check is not None:
        known.check(behind)
    return check_judge(behind) if kind == masked.__name__ else kind


def _names(asked: str) -> list[str]:
    """The names between the commas."""
    return [name.strip() for name in asked.split(",") if name.strip()]


def _read_words(path: str) -> dict[str, list[str]]:
    """Words by emotion, from a JSON file."""
    try:
        found = json.loads(read_regular(Path(path), most=_MOST))
    except OSError as error:
        raise UsageError(f"cannot read the word list {path}: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    listed = isinstance(found, dict) and all(
        isinstance(words, list) and words and all(isinstance(word, str) for word in words)
        for words in found.values()
    )
    if not (listed and found):
        raise DataError(
            f'{path} is no word list: expected words by emotion, such as {{"joy": ["glad"]}}.'
        )
    return found
