"""What we write is read back equal, in every format we write, whatever the texts and fields
hold.
"""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import stimuli
from interp.errors import DataError
from stimuli import Battery, Stimulus
from stimuli.columns import OURS
from stimuli.copies import wording
from stimuli.missing import is_missing

LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\t")
NASTY = st.sampled_from(
    [
        "=1+1",
        "+a",
        "-3",
        "@x",
        "'=x",
        "''-x",
        "'tis",
        '"',
        '""',
        '"a"',
        "a,b",
        "a;b",
        "a|b",
        "\t",
        "\n",
        " ",
        "3",
        "3.0",
        "1e5",
        "NaN",
        "null",
        "true",
        "[1]",
        '{"a": 1}',
        "Infinity",
        "-Infinity",
        '"q"',
        "#N/A",
        "\u2028",
        "\u0085"[:0],
        "\ufeff",
        "e\u0301",
        "\U0001f469",
        "x" * 300,
    ]
)
STRINGS = st.one_of(
    NASTY, st.text(LETTERS, max_size=30), st.tuples(NASTY, st.text(LETTERS)).map("".join)
)


def usable(text: str) -> bool:
    """Whether a text may stand in a battery: something to see, and no word for nothing."""
    return (
        bool(wording(text).strip("\u2028\ufeff \t\n"))
        and any(c.isalnum() for c in text)
        and not is_missing(text)
    )


NAMES = STRINGS.filter(usable)
NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS = st.one_of(STRINGS, NUMBERS, st.booleans(), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(STRINGS.filter(lambda name: name not in OURS), VALUES, max_size=3)
OPTIONAL = st.one_of(st.none(), NAMES)


@st.composite
def contents(draw: st.DrawFn) -> list[tuple]:
    """What makes the items: pairs and single texts with all attributes, texts differing in their
    words.
    """
    texts = draw(st.lists(NAMES, min_size=1, max_size=6, unique_by=wording))
    items = []
    for number, text in enumerate(texts):
        lone = number % 3 == 2 or number - number % 3 + 1 >= len(texts)
        neutral = not lone and number % 3 == 1
        pair = None if lone else f"p{number // 3}"
        group = f"g{number // 3}" if pair else draw(st.sampled_from(["", f"of its own {number}"]))
        label = "neutral" if neutral else draw(st.sampled_from(["joy", "saudade", "喜", "none"]))
        arm = "neutral" if neutral else "keyword_free"
        more = (draw(OPTIONAL), draw(OPTIONAL), draw(FIELDS))
        items.append((f"{number} {draw(NAMES)}", text, label, arm, pair, group, *more))
    return items


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(content=contents())
def test_write_then_read_is_the_identity(ending: str, content: list[tuple]) -> None:
    battery = Battery("made", tuple(Stimulus(*values) for values in content))
    with tempfile.TemporaryDirectory() as folder:
        path = stimuli.save(battery, Path(folder) / f"made{ending}")
        again = stimuli.load(path)
        assert again.items == battery.items
        assert again.sha256 == battery.sha256
        second = stimuli.save(again, Path(folder) / f"again{ending}")
        assert second.read_bytes() == path.read_bytes()


def test_every_battery_of_the_package_survives_a_spreadsheet(tmp_path) -> None:
    for name in stimuli.names():
        battery = stimuli.load(name)
        assert stimuli.load(stimuli.save(battery, tmp_path / f"{name}.csv")).items == battery.items


def test_what_was_read_from_others_is_read_back_equal(tmp_path) -> None:
    """Their columns stay in the fields, and are not taken for a file of theirs again."""
    rows = [
        {
            "id": "B-1",
            "text": "He found his tyres cut.",
            "emotion": "rage",
            "stimulus_set": "B_clinical",
            "domain": 2,
            "domain_label": "Roads",
            "matched_control_id": None,
            "Split": "x",
            "labels": [1],
        },
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    battery = stimuli.load(path)
    assert battery.items[0].domain == "Roads"
    for ending in (".jsonl", ".csv"):
        again = stimuli.load(stimuli.save(battery, tmp_path / f"b{ending}"))
        assert again.items == battery.items
        assert "format: ours" in again.notes


def test_a_carriage_return_is_refused_where_it_would_be_lost(tmp_path) -> None:
    text = Battery("b", (Stimulus("i", "one\rtwo", "joy"),))
    for ending in (".jsonl", ".csv"):
        with pytest.raises(DataError, match="carriage return"):
            stimuli.save(text, tmp_path / f"b{ending}")
    name = Battery("b", (Stimulus("i\rj", "one", "joy", fields={"note": "a\rb"}),))
    with pytest.raises(DataError, match=r"save as \.jsonl"):
        stimuli.save(name, tmp_path / "b.csv")
    field = Battery("b", (Stimulus("i", "one", "joy", fields={"note": "a\tb\r"}),))
    with pytest.raises(DataError, match=r"save as \.jsonl"):
        stimuli.save(
            Battery("b", (Stimulus("i", "one", "joy", fields={"a\r": 1}),)), tmp_path / "b.csv"
        )
    assert stimuli.save(field, tmp_path / "c.csv").exists()
