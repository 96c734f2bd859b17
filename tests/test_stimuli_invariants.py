"""What the statistics rely on is proved at the door: pairs in one group, labels that mean one
thing, missing values, copies across groups, and differences between twins that nobody sees.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import binomtest, fisher_exact

import stimuli
from interp.errors import DataError
from stimuli import Battery, Stimulus
from stimuli.unseen import LENGTH, TRAITS, fisher_test, sign_test, unseen_differences
from support import matched_pairs

Rows = list[dict[str, str]]
Edit = Callable[[str], str]


def load(tmp_path: Path, rows: Rows, **options: object) -> Battery:
    return stimuli.load(matched_pairs.write(tmp_path / "s.jsonl", rows), **options)  # type: ignore[arg-type]


def refused(tmp_path: Path, rows: Rows, *parts: str, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load(tmp_path, rows, **options)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    return str(caught.value)


def edited(edit: Edit, emotion: str = "neutral", rows: Rows | None = None) -> Rows:
    """The rows with the texts of one label edited."""
    return [
        {**row, "text": edit(row["text"])} if row["emotion"] == emotion else row
        for row in (rows or matched_pairs.rows(40))
    ]


# A pair lies in one group.


def test_a_pair_in_two_groups_is_named(tmp_path) -> None:
    rows = [{**row, "group": row["id"]} for row in matched_pairs.rows(8)]
    refused(
        tmp_path,
        rows,
        "s.jsonl:2:",
        "the pair 'p0' lies in two groups",
        "'0-a'",
        "'0-b'",
        "one group",
    )
    rows = [{**row, "group": f"g{row['pair']}"} for row in matched_pairs.rows(8)]
    rows[9]["group"] = "elsewhere"
    refused(tmp_path, rows, "s.jsonl:10:", "the pair 'p4'", "'elsewhere'")


def test_a_twin_without_a_group_joins_the_other(tmp_path) -> None:
    rows = [{**row, **({"group": "g" + row["pair"]} if row["id"].endswith("a") else {})}
            for row in matched_pairs.rows(8)]  # fmt: skip
    assert all(item.group == f"g{item.pair}" for item in load(tmp_path, rows))


def test_a_battery_made_by_hand_cannot_part_a_pair() -> None:
    items = (Stimulus("a", "One.", "joy", pair="p", group="g"),
             Stimulus("b", "Two.", "neutral", "neutral", pair="p", group="h"))  # fmt: skip
    with pytest.raises(DataError, match="the pair 'p' lies in two groups, 'g' and 'h'"):
        Battery("made", items)


# Copies across groups.


def test_texts_alike_up_to_what_is_not_seen_become_one_group(tmp_path) -> None:
    rows = matched_pairs.rows(8)
    rows[4]["text"] = rows[0]["text"].replace(".", "!").replace(" the", " \u200bthe")
    battery = load(tmp_path, rows)
    assert battery.items[0].group == battery.items[4].group == battery.items[5].group
    assert any("occur more than once" in w and "'0-a' = '2-a'" in w for w in battery.warnings)


def test_a_long_text_edited_in_one_place_is_told(tmp_path) -> None:
    draw = random.Random(0)
    stock = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ando", "ilek", "urma", "este")]
    rows = [{"id": f"t{n}", "text": " ".join(draw.choices(stock, k=30)), "emotion": "joy"}
            for n in range(12)]  # fmt: skip
    assert load(tmp_path, rows).warnings == ()
    words = rows[2]["text"].split()
    rows[7]["text"] = " ".join([*words[:20], "instead", *words[21:]])
    told = [w for w in load(tmp_path, rows).warnings if "nearly alike" in w]
    assert len(told) == 1
    assert "'t2' and 't7' share" in told[0]
    rows[7]["group"] = rows[2]["group"] = "one scene"
    assert load(tmp_path, rows).warnings == ()


# Labels and other values that stand for nothing, or for two things.


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "None", "null", "N/A", "NA", "-", "#N/A", "empty", "(blank)"]
)
@pytest.mark.parametrize("column", ["emotion", "text", "pair", "group"])
def test_words_for_nothing_are_refused_with_their_row(tmp_path, word, column) -> None:
    rows: Rows = [dict(row) for row in matched_pairs.rows(8)]
    rows[2][column] = word
    refused(tmp_path, rows, "s.jsonl:3:", f"{column} is {word!r}, a word for nothing")


def test_labels_that_are_meant_stay(tmp_path) -> None:
    rows = [{"id": f"{n}", "text": f"Text {n} is told.", "emotion": e}
            for n, e in enumerate(["none", "neutral", "joy", "none"])]  # fmt: skip
    assert load(tmp_path, rows).emotions == ("joy", "none")
    rows[2]["emotion"] = "empty"
    refused(tmp_path, rows, "'empty'", "--emotions")
    declared = ["none", "empty"]
    assert load(tmp_path, rows, emotions=declared).emotions == ("empty", "none")


@pytest.mark.parametrize(
    "label", ["joy, fear", "anger/disgust", "joy;sadness", "Joy & Fear", "awe+joy"]
)
def test_a_label_that_is_two_is_refused(tmp_path, label) -> None:
    rows = [*matched_pairs.rows(8), {"id": "x", "text": "Another text.", "emotion": label}]
    refused(tmp_path, rows, "s.jsonl:17:", "one label or as several", "--emotions")
    assert (
        label in load(tmp_path, rows, emotions=["joy", "sadness", "anger", "fear", label]).emotions
    )


CODED = [("They kept shouting", "0"), ("The milk was green", "1"), ("Steps in the dark", "2")]


def test_whole_numbers_are_numbers_however_they_are_written(tmp_path) -> None:
    (tmp_path / "labels.txt").write_text("anger\nfear\n")
    path = tmp_path / "pandas.csv"
    path.write_text("text,emotion\nA day.,0.0\nA night.,1.0\n")
    assert [i.emotion for i in stimuli.load(path)] == ["anger", "fear"]
    path.write_text("text,emotion\nA day.,0.5\nA night.,1.0\n")
    with pytest.raises(DataError, match=r"pandas\.csv:2:2: the emotion is the number '0.5'"):
        stimuli.load(path)


def coded(folder: Path, rows: list[tuple[str, str]], **beside: str) -> Path:
    """A table without names, whose second column holds label numbers."""
    for name, content in beside.items():
        (folder / f"{name}.txt").write_text(content)
    path = folder / "coded.tsv"
    path.write_text("".join(f"{text}\t{number}\tr{n}\n" for n, (text, number) in enumerate(rows)))
    return path


def test_numbers_take_the_names_beside_the_file(tmp_path) -> None:
    battery = stimuli.load(coded(tmp_path, CODED, labels="anger\ndisgust\nfear\n"))
    assert [i.emotion for i in battery] == ["anger", "disgust", "fear"]
    assert "label numbers were named by labels.txt beside the file" in battery.notes
    assert not any("GoEmotions" in note for note in battery.notes)


@pytest.mark.parametrize(
    "lines",
    [
        "0 anger\n1 disgust\n2 fear\n",
        "disgust: 1\nanger: 0\nfear: 2\n",
        "2,fear\n0,anger\n1,disgust",
    ],
)
def test_a_codebook_may_number_its_names(tmp_path, lines) -> None:
    battery = stimuli.load(coded(tmp_path, CODED, emotions=lines))
    assert [i.emotion for i in battery] == ["anger", "disgust", "fear"]


def test_numbers_without_a_codebook_are_refused_with_both_remedies(tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"coded\.tsv:1:2.*numbers \(0, 1, 2\).*labels\.txt.*names into the"
    ):
        stimuli.load(coded(tmp_path, CODED))
    plain = tmp_path / "plain.csv"
    plain.write_text("text,emotion\nA day.,3\nA night.,1\n")
    with pytest.raises(DataError, match=r"plain\.csv:2:2.*numbers \(1, 3\).*labels\.txt"):
        stimuli.load(plain)
    (tmp_path / "whole.jsonl").write_text(json.dumps({"text": "A day.", "emotion": 3}) + "\n")
    with pytest.raises(DataError, match=r"whole\.jsonl:1:20.*numbers \(3\)"):
        stimuli.load(tmp_path / "whole.jsonl")


def test_numbers_that_start_at_one(tmp_path) -> None:
    rows = [(text, str(int(number) + 1)) for text, number in CODED]
    path = coded(tmp_path, rows, labels="anger\ndisgust\nfear\n")
    assert [i.emotion for i in stimuli.load(path)] == ["anger", "disgust", "fear"]
    path = coded(tmp_path, rows[:2], labels="anger\ndisgust\nfear\n")
    with pytest.raises(DataError, match="two readings of the label numbers fit"):
        stimuli.load(path)


def test_two_codebooks_that_differ_are_refused_and_one_that_lacks_a_number_is_passed_over(
    tmp_path,
) -> None:
    path = coded(tmp_path, CODED, labels="anger\ndisgust\nfear\n", emotions="joy\ndisgust\nfear\n")
    with pytest.raises(DataError, match=r"two readings.*labels\.txt and emotions\.txt"):
        stimuli.load(path)
    path = coded(tmp_path, CODED, labels="anger\ndisgust\nfear\n", emotions="joy\n")
    assert stimuli.load(path).items[0].emotion == "anger"
    path = coded(tmp_path, CODED, labels="anger\n", emotions="joy\n")
    with pytest.raises(DataError, match=r"labels\.txt beside the file does not name them all"):
        stimuli.load(path)


def test_goemotions_is_known_by_its_last_label(tmp_path) -> None:
    rows = [*CODED, ("The bus leaves at nine", "27")]
    path = coded(tmp_path, rows)
    assert [i.emotion for i in stimuli.load(path)] == [
        "admiration",
        "amusement",
        "anger",
        "neutral",
    ]
    battery = stimuli.load(coded(tmp_path, rows, labels="anger\ndisgust\nfear\n"))
    assert battery.items[0].emotion == "admiration"
    assert any("labels.txt beside the file lacks some" in warning for warning in battery.warnings)


# Differences between twins that are not seen.

UNSEEN: dict[str, Edit] = {
    "a blank at the beginning": lambda text: f" {text}",
    "a blank at the end": lambda text: f"{text} ",
    "a line break at the end": lambda text: f"{text}\n",
    "a line break inside": lambda text: text.replace(". The", ".\nThe"),
    "two blanks in a row, or a tab": lambda text: text.replace(". The", ".  The"),
    "a small letter at the beginning": lambda text: text[0].lower() + text[1:],
    "no capital letter at all": str.lower,
    "words in capitals": lambda text: text.replace("morning", "MORNING"),
    "curved quotes": lambda text: text.replace("cold morning", "\u201ccold\u201d morning"),
    "quotes around the whole text": lambda text: f'"{text}"',
    "long dashes": lambda text: text.replace(" and", " \u2014 and"),
    "hyphens as dashes": lambda text: text.replace(" and", " - and"),
    "an ellipsis": lambda text: text.replace(". The", "\u2026 The"),
    "no full stop at the end": lambda text: text[:-1],
    "an exclamation mark at the end": lambda text: f"{text[:-1]}!",
    "a question mark at the end": lambda text: f"{text[:-1]}?",
    "letters that are not in the Unicode form NFC": lambda text: text.replace("cold", "co\u0308ld"),
    "blanks that are no plain blanks": lambda text: text.replace("a cold", "a\u00a0cold"),
    "zero-width or direction characters": lambda text: text.replace("cold", "co\u200bld"),
}


def told(battery: Battery) -> dict[str, str]:
    start = "form alone tells affective from neutral texts: "
    found = [
        tuple(w.removeprefix(start).split(" (1): "))
        for w in battery.warnings
        if w.startswith(start)
    ]
    return dict(found)


@pytest.mark.parametrize("trait", TRAITS)
@pytest.mark.parametrize("emotion", ["neutral", "affective"])
def test_each_trait_is_told_with_its_shares(tmp_path, trait, emotion) -> None:
    edit = UNSEEN[trait]
    if emotion == "neutral":
        rows, shares = edited(edit), "0% of affective and 100% of neutral texts"
    else:
        every = [row["emotion"] for row in matched_pairs.rows(4) if row["emotion"] != "neutral"]
        rows = matched_pairs.rows(40)
        for label in every:
            rows = edited(edit, label, rows)
        shares = "100% of affective and 0% of neutral texts"
    assert told(load(tmp_path, rows))[trait].startswith(shares)


def test_what_is_alike_in_both_arms_or_rare_or_by_chance_is_not_told(tmp_path) -> None:
    rows = matched_pairs.rows(40)
    assert told(load(tmp_path, rows)) == {}
    both = [{**row, "text": row["text"] + "\n"} for row in rows]
    assert told(load(tmp_path, both)) == {}
    draw = random.Random(1)
    chance = [{**row, "text": row["text"] + draw.choice(["", "\n"])} for row in rows]
    assert told(load(tmp_path, chance)) == {}
    few = [
        {**row, "text": row["text"] + "\n"} if row["id"] in ("0-a", "1-a", "2-a") else row
        for row in rows
    ]
    assert told(load(tmp_path, few)) == {}
    assert told(load(tmp_path, edited(lambda text: f"{text}\n", rows=matched_pairs.rows(5)))) == {}


def test_length_in_characters_is_told_without_one_word_more(tmp_path) -> None:
    rows = edited(lambda text: text.replace("cold", "unexpectedly cold").replace("a unex", "unex"))
    assert LENGTH in told(load(tmp_path, rows))


def test_retellings_of_one_scenario_are_one_sign() -> None:
    """Forty pairs of two scenarios say as much as two pairs."""
    affective, neutral = ["a\n"] * 40, ["a"] * 40
    assert unseen_differences(affective, neutral, ["g", "h"] * 20) == []
    assert len(unseen_differences(affective, neutral, list(map(str, range(40))), length=False)) == 1


@pytest.mark.parametrize(
    ("up", "down"), [(0, 0), (5, 0), (3, 9), (40, 60), (500, 520), (7, 7), (3000, 2000)]
)
def test_the_sign_test_is_scipys(up, down) -> None:
    expected = binomtest(up, up + down).pvalue if up + down else 1.0
    assert sign_test([1.0] * up + [-1.0] * down + [0.0] * 9) == pytest.approx(expected, rel=1e-9)


def test_between_labels_where_there_are_no_twins(tmp_path) -> None:
    rows = [
        {name: row[name] for name in ("id", "text", "emotion")} for row in matched_pairs.rows(40)
    ]
    joyless = [row for row in rows if row["emotion"] != "neutral"]
    assert load(tmp_path, joyless).warnings == ()
    told = load(tmp_path, edited(lambda text: f"{text} ", "joy", joyless)).warnings
    assert len(told) == 1
    start = "form alone tells one label from the others: a blank at the end"
    assert told[0].startswith(f"{start} (1): 100% of 'joy' and 0% of the others")
    loud = edited(lambda text: f"{text[:-1]}!", "anger", joyless)  # a mark that an emotion explains
    assert load(tmp_path, loud).warnings == ()
    one_scene = [{**row, "group": row["emotion"]} for row in joyless]  # four scenes say nothing
    assert load(tmp_path, edited(lambda text: f"{text} ", "joy", one_scene)).warnings == ()


@pytest.mark.parametrize(
    "table", [(3, 10, 4, 40), (10, 10, 10, 40), (0, 12, 30, 60), (5, 10, 20, 40), (0, 5, 0, 9)]
)
def test_fishers_test_is_scipys(table) -> None:
    k, size, held, n = table
    cells = [[k, size - k], [held - k, n - size - held + k]]
    sides = [fisher_exact(cells, alternative=side).pvalue for side in ("less", "greater")]
    assert fisher_test(*table) == pytest.approx(min(1.0, 2 * min(sides)), rel=1e-9)


def test_the_packages_own_batteries_are_clean() -> None:
    for name in stimuli.names():
        assert stimuli.load(name).warnings == ()
