"""Does a model notice a direction that is put into its stream, and can it say which?

After Lindsey (2025), *Emergent introspective awareness*: an emotion's direction is added to the
stream while the model is asked whether it notices a feeling, and which. Steering makes an emotion's
words likelier whatever is asked, and any push may make it say yes. So each answer has its control:

    question        its control
    notice          denied: a question whose answer is no. A push towards "yes" raises both
    name            unrelated: another question. A push towards the words of joy raises both
    relabelled      the same, where each emotion is called by a letter, other ones in each text: no
                    push towards any word can tell them apart, only knowing which it is
    all             random directions of the same length; nothing added (false alarms); and the same
                    content put into the input, the text that evokes the emotion, which a text-only
                    classifier reads as well

Nothing is generated: the answers are the readout's words. A score is less that of the same text and
question with nothing added, so that frequent words win nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from interp.causal.edits import add
from interp.causal.forward import batches, encode_stimuli
from interp.causal.generation import acting
from interp.causal.interventions import Intervention
from interp.causal.pooled import ALL
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout
from interp.causal.steering import STEERED_AT, check_scales
from interp.causal.steps import check_direction, random_like, step
from interp.causal.words import word_scores
from interp.errors import StatisticsError, UsageError
from interp.evaluation.steering_arms import Candidate, site_of
from interp.models import LanguageModel
from interp.progress import track
from interp.results import TableRow, TableRows
from interp.shares import Share
from interp.sites import Site, site_columns
from interp.stats import mean_interval, mean_of
from stimuli.battery import Pairs, Stimulus

YES = {"yes": ("yes", "Yes"), "no": ("no", "No")}
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
CHOICES = "choices"
"""The field of a text that says which letter stands for which emotion there."""

NAMED = ("name", "unrelated", "relabelled")
"""The questions that are answered by an emotion."""

_PUT = "Besides what the text says, a feeling may have been put into your mind."


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked behind each text. `notice` and `denied` are answered by "yes" or "no", `name`
    and `unrelated` by an emotion, `relabelled` by a letter; its suffix has `{choices}`.
    """

    notice: Readout
    denied: Readout
    name: Readout
    unrelated: Readout
    relabelled: Readout


def questions_of(words: Mapping[str, Sequence[str]]) -> Questions:
    """The usual questions, in English, about the emotions that have these words."""
    letters = {letter: (letter,) for letter in LETTERS[: len(words)]}
    end = "\nAnswer:"
    return Questions(
        notice=Readout(YES, f"\n{_PUT} Do you notice one? Answer yes or no.{end}"),
        denied=Readout(YES, f"\nA stone may have been put into a river. Can it swim?{end}"),
        name=Readout(words, f"\n{_PUT} Which one? Answer with one word.{end}"),
        unrelated=Readout(words, f"\nA stone may have been put into a river. Which one?{end}"),
        relabelled=Readout(letters, f"\n{_PUT} {{{CHOICES}}} Answer with one letter.{end}"),
    )


def introspect(
    model: LanguageModel,
    halves: tuple[Pairs, Pairs],
    candidates: Sequence[Candidate],
    questions: Questions,
    *,
    scales: Sequence[float],
    unit: str = "dose",
    seed: int = 0,
) -> TableRows:
    """Rows of what the model says of a direction that is added to neutral texts, from each text's
    last token on, while the question is read. All emotions together; intervals over scenarios.

    - `detected` by control: "" (the directions), `random`, `unsteered` (false alarms), `input` (the
      affective twin): the share in which "yes" is likelier than "no". `denied`: the same of the
      question whose answer is no. `detected_above`: by how much more a direction raises `detected`
      than `denied`, both less their value with nothing added.
    - `identified` by question (`target`) and control: the share in which the emotion that was added
      gains most; chance is 1 / `choices`. `identified_above`: `name` less `unrelated`.
    - `text_only`: the share of the affective twins whose emotion a classifier of words finds, which
      was fitted on the other half's.

    Each candidate (a layer) and strength is tried on the first half (half `choose`); the one whose
    `identified` under relabelled classes is highest is told of the second (`report`). Raises
    `StatisticsError` for fewer than two emotions or more than there are letters, and for a half
    without texts; `UsageError` for questions whose words the vocabulary lacks; and as `steer`.
    """
    check_scales(scales)
    emotions = sorted({emotion for one in candidates for emotion in one})
    if not 2 <= len(emotions) <= len(LETTERS) or any(sorted(one) != emotions for one in candidates):
        raise StatisticsError(
            f"{len(candidates)} candidates of the emotions {', '.join(emotions) or 'none'}: give 2 "
            f"to {len(LETTERS)} emotions, all of them in each candidate."
        )
    if not all(halves):
        raise StatisticsError("a half has no twins: give texts of more scenarios.")
    for one in candidates:
        for direction in one.values():
            check_direction(model, direction)
    tried: list[tuple[float, Candidate, float]] = []
    rows: TableRows = []
    choose, report = (_Asked(model, half, emotions, questions, seed) for half in halves)
    cells = [(one, float(scale)) for one in candidates for scale in scales]
    for one, scale in track(cells, "asking about what is added", unit="place"):
        found = choose.rows(one, scale, unit)
        rows += [{**row, "half": "choose"} for row in found]
        tried.append((_value(found, "identified", "relabelled"), one, scale))
    _, best, scale = max(tried, key=lambda each: each[0])
    told = [*report.rows(best, scale, unit), *report.of_input(site_of(best), halves[0])]
    return [*rows, *({**row, "half": "report"} for row in told)]


class _Asked:
    """The twins of one half, and what is said behind them."""

    def __init__(
        self,
        model: LanguageModel,
        pairs: Pairs,
        emotions: Sequence[str],
        questions: Questions,
        seed: int,
    ) -> None:
        self._model, self._pairs, self._emotions = model, pairs, emotions
        self._questions, self._draw = questions, np.random.default_rng(seed)
        self._shifts = np.arange(len(pairs)) % len(emotions)
        self.groups = pairs.groups

    def rows(self, candidate: Candidate, scale: float, unit: str) -> TableRows:
        """What is said under each direction, under random ones, and with nothing added."""
        n = len(self._emotions)
        own = np.stack([scale * step(candidate[one], unit) for one in self._emotions])
        added = np.concatenate([np.zeros((1, own.shape[1])), own, random_like(own, self._draw)])
        site, place = site_of(candidate), {"scale": scale, "unit": unit}
        said = self._said(self._pairs.neutral, site, added)
        yes = {name: (said[name] > 0).astype(float) for name in ("notice", "denied")}
        arms = {"unsteered": slice(0, 1), "": slice(1, 1 + n), "random": slice(1 + n, None)}
        rows: list[TableRow] = []
        for control, arm in arms.items():
            for metric, name in (("detected", "notice"), ("denied", "denied")):
                rows.append(self._share(yes[name][arm].mean(0), metric=metric, control=control))
        more = {name: each[arms[""]].mean(0) - each[0] for name, each in yes.items()}
        rows.append(self._mean(more["notice"] - more["denied"], "detected_above", "denied"))
        hits = {}
        for name in NAMED:
            gained = said[name][1:] - said[name][0]
            right = gained.argmax(-1) == np.tile(np.arange(n), 2)[:, None]
            hits[name] = right[:n].mean(0)
            for control, mine in (("", right[:n]), ("random", right[n:])):
                row = self._share(mine.mean(0), metric="identified", control=control)
                rows.append({**row, "target": name, "choices": n})
        rows.append(self._mean(hits["name"] - hits["unrelated"], "identified_above", "unrelated"))
        return [{**site_columns(site), **place, **row} for row in rows]

    def of_input(self, site: Site, fitted_on: Pairs) -> TableRows:
        """What is said where the content is put into the input: behind the affective twins."""
        nothing = np.zeros((1, self._model.dims.d_model))
        twins = (self._pairs.affective, self._pairs.neutral)
        affective, neutral = (self._said(items, site, nothing) for items in twins)
        meant = np.array([self._emotions.index(pair.affective.emotion) for pair in self._pairs])
        yes = (affective["notice"][0] > 0).astype(float)
        rows = [self._share(yes, metric="detected", control="input")]
        for name in NAMED:
            right = (affective[name] - neutral[name])[0].argmax(-1) == meant
            row = self._share(right.astype(float), metric="identified", control="input")
            rows.append({**row, "target": name})
        read = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10.0, max_iter=1000))
        known = fitted_on.affective
        read.fit([item.text for item in known], [item.emotion for item in known])
        found = read.predict([item.text for item in self._pairs.affective])
        right = np.array(
            [a == b.emotion for a, b in zip(found, self._pairs.affective, strict=True)]
        )
        rows.append(self._share(right.astype(float), metric="text_only", control="input"))
        return [{**site_columns(site), "scale": 0.0, **row} for row in rows]

    def _said(
        self, items: Sequence[Stimulus], site: Site, added: Float[np.ndarray, "arm d_model"]
    ) -> dict[str, Float[np.ndarray, "arm text *choice"]]:
        """Behind each text under each vector: how much likelier yes is than no (nats); and the
        score of each emotion (nats), whatever it is called there.
        """
        found: dict[str, Any] = {}
        for one in fields(self._questions):
            readout, asked = getattr(self._questions, one.name), items
            if one.name == "relabelled":
                asked = [
                    replace(item, fields={**item.fields, CHOICES: self._key(int(shift))})
                    for item, shift in zip(items, self._shifts, strict=True)
                ]
            scores = answers(self._model, asked, readout, site, added)
            if one.name in ("notice", "denied"):
                found[one.name] = scores[..., 0] - scores[..., 1]
            elif one.name == "relabelled":
                found[one.name] = unshifted(scores, self._shifts)
            else:
                order = [readout.emotions.index(emotion) for emotion in self._emotions]
                found[one.name] = scores[..., order]
        return found

    def _key(self, shift: int) -> str:
        """Which letter stands for which emotion: the first for the emotion number `shift`."""
        turned = [*self._emotions[shift:], *self._emotions[:shift]]
        called = zip(LETTERS, turned, strict=False)
        return ", ".join(f"{letter} is {emotion}" for letter, emotion in called) + "."

    def _share(self, values: Float[np.ndarray, " text"], *, metric: str, control: str) -> TableRow:
        found = Share(mean_of(values)).estimate(self.groups)._asdict()
        return {**_about(metric), "control": control, **found}

    def _mean(self, values: Float[np.ndarray, " text"], metric: str, target: str) -> TableRow:
        found = mean_interval(values, self.groups)._asdict()
        return {**_about(metric), "control": "", "target": target, **found}


def answers(
    model: LanguageModel,
    items: Sequence[Stimulus],
    readout: Readout,
    site: Site,
    added: Float[np.ndarray, "arm d_model"],
) -> Float[np.ndarray, "arm text choice"]:
    """The readout's scores (nats) behind each text, each vector added from its last token on.

    Raises `UsageError` where the vocabulary lacks the words of a choice.
    """
    bound = readout.bind(model)
    if lost := [one for one in readout.emotions if one not in bound.emotions]:
        raise UsageError(
            f"the vocabulary of {model.name} has no word for {', '.join(lost)}: the question "
            f"{readout.suffix!r} cannot be answered."
        )
    encoded = encode_stimuli(model, items, readout)
    found = np.empty((len(added), len(items), len(bound.emotions)))
    for chunk in batches(encoded):
        rows = [encoded[at] for at in chunk]
        prefix = Prefix(model, rows, [row.end for row in rows])
        jobs = np.array([(arm, row) for arm in range(len(added)) for row in range(len(rows))])
        for first in range(0, len(jobs), prefix.rows_at_once):
            arm, row = jobs[first : first + prefix.rows_at_once].T
            where = acting(STEERED_AT, [prefix.texts[at] for at in row])
            edit = Intervention(site, add(added[arm]), where)
            done = prefix.run([edit], rows=row.tolist(), further=not bound.whole)
            found[arm, chunk[row]] = word_scores(done, bound).cpu().numpy()
    return found


def unshifted(
    scores: Float[np.ndarray, "arm text letter"], shifts: Int[np.ndarray, " text"]
) -> Float[np.ndarray, "arm text emotion"]:
    """The scores of letters as those of emotions, where a text's first letter stands for the
    emotion number `shifts`.
    """
    n = scores.shape[-1]
    letter = (np.arange(n)[None, :] - shifts[:, None]) % n
    return np.take_along_axis(scores, letter[None], axis=-1)


def _about(metric: str) -> TableRow:
    return {"metric": metric, "method": "introspection", "emotion": ALL}


def _value(rows: TableRows, metric: str, target: str) -> float:
    (row,) = (
        row
        for row in rows
        if (row["metric"], row.get("target"), row["control"]) == (metric, target, "")
    )
    return float(row["value"])
