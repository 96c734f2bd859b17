"""Looking at all rows together: labels, ids, twins, groups, repeated texts.

Each check takes the drafts that are left and returns those that stay; what it refuses it names, and
what it lets pass with a doubt it leaves in the ledger.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

from interp.errors import DataError
from stimuli.battery import NEUTRAL
from stimuli.columns import OURS
from stimuli.copies import near_copies, squeezed, wording
from stimuli.drafts import Draft
from stimuli.labels import did_you_mean, known_labels, nearest, plain_label, several, slip
from stimuli.rows import Ledger

_SPLITS = {"train", "training", "test", "testing", "dev", "val", "valid", "validation"}


def normalise(found: Sequence[Draft], ledger: Ledger) -> None:
    """Give every label its plain spelling: that of a known label where there is one, else lower
    case without edge blanks.
    """
    known = {plain_label(label): label for label in known_labels()}
    changed: Counter[str] = Counter()
    for draft in found:
        label = draft.values["emotion"]
        plain = known.get(plain_label(label), plain_label(label))
        if plain != label:
            changed[f"{label!r} -> {plain!r}"] += 1
            draft.values["emotion"] = plain
            if plain == NEUTRAL and draft.values["arm"] == "keyword_free":
                draft.values["arm"] = NEUTRAL
    for change, count in changed.items():
        ledger.note(f"label {change} ({count} rows)")


def check_labels(found: Sequence[Draft], emotions: Collection[str]) -> None:
    """Raise `DataError` at the first row whose label is a slip (see `stimuli.labels`), with the
    label that was meant.
    """
    counts = Counter(draft.values["emotion"] for draft in found)
    slips = {label: fault for label in counts if (fault := slip(label, counts, emotions))}
    doubled = {label: parts for label in counts if (parts := several(label, counts, emotions))}
    for draft in found:
        label = draft.values["emotion"]
        if label in doubled:
            draft.fail(
                "emotion",
                f"{label!r} can be read as one label or as several ({' and '.join(doubled[label])}"
                "): keep one of them, drop the row, or declare the label as meant by naming it in "
                "--emotions.",
            )
        if label not in slips:
            continue
        kind, meant = slips[label]
        fix = "merge spellings with --normalise-labels" if kind == "variant" else "correct it"
        draft.fail(
            "emotion",
            f"unknown emotion {label!r} ({counts[label]} rows){did_you_mean(meant)} "
            f"Either {fix}, or declare it as meant by naming it in --emotions.",
        )
    missing = [emotion for emotion in emotions if emotion not in counts]
    if missing:
        near = did_you_mean(nearest(missing[0], counts))
        raise DataError(
            f"no text is labelled {missing[0]!r}{near} The labels here are "
            f"{', '.join(map(repr, sorted(counts)))}."
        )


def keep_emotions(found: list[Draft], emotions: Collection[str], ledger: Ledger) -> list[Draft]:
    """The texts of the named emotions and those neutral texts that are not the twin of another
    emotion's.
    """
    if not emotions:
        return found
    unwanted = {
        d.values.get("pair") or d.values["id"]
        for d in found
        if d.values["emotion"] not in {*emotions, NEUTRAL}
    }
    kept = [
        draft for draft in found if (draft.values.get("pair") or draft.values["id"]) not in unwanted
    ]
    if len(kept) < len(found):
        ledger.dropped["are of other emotions"] += len(found) - len(kept)
    return kept


def check_ids(found: list[Draft], ledger: Ledger, *, dedupe: bool) -> list[Draft]:
    """Each id once. Raises `DataError` with both places; copies alike in everything are dropped
    when `dedupe` is set.
    """
    first: dict[str, Draft] = {}
    for draft in found:
        known = first.setdefault(draft.values["id"], draft)
        if known is draft:
            continue
        same = known.values == draft.values
        if not (same and dedupe):
            fix = (
                "the rows are identical: --dedupe keeps one"
                if same
                else "the rows differ: give one another id"
            )
            draft.fail(
                "id", f"the id {draft.values['id']!r} stands already at {known.at('id')}; {fix}."
            )
        ledger.dropped["repeat a row"] += 1
    return list(first.values())


def check_twins(found: list[Draft], ledger: Ledger, *, drop_unmatched: bool) -> list[Draft]:
    """Every pair is one affective and one neutral text, and the two differ.

    Raises `DataError` for the first ten unmatched pairs, unless `drop_unmatched` puts them aside,
    counted and named.
    """
    pairs = members(found)
    broken = {name: drafts for name, drafts in pairs.items() if not _matched(drafts)}
    if broken and not drop_unmatched:
        told = "; ".join(
            f"{name!r} ({_composition(drafts)})" for name, drafts in list(broken.items())[:10]
        )
        raise DataError(
            f"{next(iter(broken.values()))[0].at('pair')}: {len(broken)} of {len(pairs)} pairs "
            f"are not one affective and one neutral text: {told}. Mend them, or leave them out "
            "with --drop-unmatched."
        )
    for name, drafts in pairs.items():
        if name not in broken and len({squeezed(draft.values["text"]) for draft in drafts}) == 1:
            drafts[1].fail(
                "text",
                f"both texts of pair {name!r} are identical (the other at "
                f"{drafts[0].at('text')}): no difference.",
            )
    for name, drafts in broken.items():
        ledger.find("unmatched pairs were left out", f"{name!r} ({_composition(drafts)})")
        ledger.dropped["belong to an unmatched pair"] += len(drafts)
    return [draft for draft in found if draft.values.get("pair") not in broken]


def members(found: Iterable[Draft]) -> dict[str, list[Draft]]:
    """Drafts by pair, those without one left out."""
    pairs: dict[str, list[Draft]] = defaultdict(list)
    for draft in found:
        if draft.values.get("pair") is not None:
            pairs[draft.values["pair"]].append(draft)
    return pairs


def _matched(drafts: Sequence[Draft]) -> bool:
    return len(drafts) == 2 and sum(draft.values["emotion"] == NEUTRAL for draft in drafts) == 1


def _composition(drafts: Sequence[Draft]) -> str:
    neutral = sum(draft.values["emotion"] == NEUTRAL for draft in drafts)
    return f"{len(drafts) - neutral} affective, {neutral} neutral"


def check_groups(found: Sequence[Draft]) -> None:
    """A pair lies in one group, since folds and resampling never part twins: a member without a
    group joins its twin's. Raises `DataError` with the pair's id where the two name different ones.
    """
    for name, drafts in members(found).items():
        named = {d.values["group"]: d for d in drafts if d.values.get("group") is not None}
        if len(named) > 1:
            one, other = list(named.values())[:2]
            other.fail(
                "group",
                f"the pair {name!r} lies in two groups, {one.values['group']!r} (at "
                f"{one.at('group')}) and {other.values['group']!r}: give both texts one group, or "
                "leave the column out (the pair is then the group).",
            )
        for draft in drafts:
            draft.values["group"] = next(iter(named), name)


def join_repeats(found: Sequence[Draft], ledger: Ledger) -> None:
    """Texts that occur under several ids, capitals, punctuation and form apart, get one common
    group, so that no split puts them on both sides. Longer texts of different groups that are
    nearly alike are told.

    Raises `DataError` when the file itself puts such texts into different splits (its column
    `split`).
    """
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while (above := parent.setdefault(group, group)) != group:
            group = parent[group] = parent[above]  # long ways are halved each time they are gone
        return group

    for drafts in _by_text(found).values():
        if len(drafts) == 1:
            continue
        _check_leak(drafts)
        if len({draft.values.get("pair") or draft.values["id"] for draft in drafts}) > 1:
            told = " = ".join(repr(draft.values["id"]) for draft in drafts[:3])
            ledger.find("texts that occur more than once (kept as one group)", told)
        for draft in drafts[1:]:
            parent[root(group(draft))] = root(group(drafts[0]))
    if parent:
        for draft in found:
            draft.values["group"] = root(group(draft))
    items = [(draft.values["id"], draft.values["text"], group(draft)) for draft in found]
    for one, other, shared in near_copies(items):
        ledger.find(
            "texts of different groups that are nearly alike (if they retell one scene, give "
            "them one group)",
            f"{one!r} and {other!r} share {shared:.0%} of their word triples",
        )


def _by_text(found: Iterable[Draft]) -> dict[str, list[Draft]]:
    texts: dict[str, list[Draft]] = defaultdict(list)
    for draft in found:
        texts[wording(draft.values["text"])].append(draft)
    return texts


def group(draft: Draft) -> str:
    """The scenario of a row: its group, else its pair, else the row alone."""
    values = draft.values
    return str(values.get("group") or values.get("pair") or values["id"])


def _check_leak(drafts: Sequence[Draft]) -> None:
    splits = {
        split: draft for draft in drafts if (split := str(draft.values.get("split"))) in _SPLITS
    }
    if len(splits) > 1:
        one, other = list(splits.values())[:2]
        other.fail(
            "text",
            f"leak: this text is in split {other.values['split']!r} and in split "
            f"{one.values['split']!r} (at {one.at('text')}); keep it in one of them.",
        )


def is_neutral(draft: Draft) -> bool:
    """Whether the row is labelled neutral."""
    return bool(draft.values["emotion"] == NEUTRAL)


def kept_fields(draft: Draft) -> dict[str, object]:
    """The columns that are none of ours."""
    return {str(name): value for name, value in draft.values.items() if name not in OURS}
