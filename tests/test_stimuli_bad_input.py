"""What bad stimulus files get: each refusal names the place, what came, and the fix; nothing is let
through in silence.
"""

import csv
import json
from pathlib import Path

import pytest

import stimuli
from interp.errors import DataError, ResourceError, UsageError
from stimuli import Limits


def item(number: int, emotion: str, text: str = "", **more: object) -> dict[str, object]:
    words = (
        "opened the letter and read it twice"
        if emotion != "neutral"
        else "opened the folder and read it twice"
    )
    return {
        "id": f"{emotion}-{number}",
        "text": text or f"Person {number} {words}.",
        "emotion": emotion,
        "pair": f"p{number}",
        **more,
    }


def twins(count: int = 12, emotion: str = "joy") -> list[dict[str, object]]:
    return [
        row for number in range(count) for row in (item(number, emotion), item(number, "neutral"))
    ]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stimuli.jsonl"


def refused(path: Path, *parts: str, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        stimuli.load(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    return message


def test_a_clean_file_loads_without_a_warning(path: Path) -> None:
    battery = stimuli.load(write(path, twins()))
    assert (len(battery), len(battery.pairs()), battery.warnings) == (24, 12, ())
    assert {i.arm for i in battery} == {"keyword_free", "neutral"}


def test_01_nothing_left_says_how_many_were_read_and_why_they_went(path: Path) -> None:
    refused(write(path, []), "0 usable texts in", "the file has no rows")
    path.write_bytes(b"\xef\xbb\xbf\n\n")
    refused(path, "0 usable texts")
    lonely = [row for row in twins(3) if row["emotion"] != "neutral"]
    refused(
        write(path, lonely),
        "0 usable pairs",
        "3 read, 3 dropped: 3 belong to an unmatched pair",
        drop_unmatched=True,
    )


def test_02_unmatched_pairs_are_listed_or_put_aside(path: Path) -> None:
    rows = [*twins(30), {**item(0, "neutral", "A third text."), "id": "third"}]
    rows = [row for row in rows if row["id"] not in {f"neutral-{n}" for n in range(1, 15)}]
    message = refused(
        write(path, rows),
        "15 of 30 pairs",
        "'p0' (1 affective, 2 neutral)",
        "'p9'",
        "--drop-unmatched",
    )
    assert "'p10'" not in message
    battery = stimuli.load(path, drop_unmatched=True)
    assert len(battery.pairs()) == 15
    assert any(
        "unmatched pairs were left out (15): 'p0'" in warning for warning in battery.warnings
    )


def test_03_duplicate_ids_name_both_lines_and_dedupe_only_drops_copies(path: Path) -> None:
    rows = twins(12)
    refused(write(path, [*rows, rows[2]]), "stimuli.jsonl:25:2", "stimuli.jsonl:3:2", "--dedupe")
    battery = stimuli.load(path, dedupe=True)
    assert len(battery) == 24
    assert any("left out 1 of 25 rows: they repeat a row" in w for w in battery.warnings)
    other = {**rows[2], "text": "Quite another text."}
    message = refused(write(path, [*rows, other]), "the rows differ", dedupe=True)
    assert "--dedupe" not in message


def test_04_a_repeated_text_joins_groups_and_a_leak_is_refused(path: Path) -> None:
    rows = twins(12)
    rows[4]["text"] = f"  {str(rows[0]['text']).upper()} "
    battery = stimuli.load(write(path, rows))
    groups = {i.id: i.group for i in battery}
    assert groups["joy-0"] == groups["joy-2"] == groups["neutral-0"] == groups["neutral-2"]
    assert len(set(groups.values())) == 11
    assert any("texts that occur more than once" in w for w in battery.warnings)
    rows[0]["split"], rows[4]["split"] = "train", "test"
    refused(write(path, rows), "leak", "stimuli.jsonl:5:", "stimuli.jsonl:1:", "'test'")


def test_05_identical_twins_are_refused(path: Path) -> None:
    rows = twins(12)
    rows[1]["text"] = rows[0]["text"]
    refused(write(path, rows), "pair 'p0' are identical", "stimuli.jsonl:2:")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"emotion": None}, ("empty emotion", ":3:")),
        ({"emotion": 3.7}, ("emotion is 3.7, a float", ":3:")),
        ({"emotion": "3.7"}, ("the number '3.7'",)),
        ({"text": ["a"]}, ("text is ['a'], a list",)),
        ({"arm": "keywordfree"}, ("unknown arm 'keywordfree'", "did you mean 'keyword_free'?")),
        ({"pair": True}, ("pair is True, a bool",)),
        ({"group": {"a": 1}}, ("group is {'a': 1}, a dict",)),
    ],
)
def test_06_a_wrong_value_is_placed(
    path: Path, change: dict[str, object], parts: tuple[str, ...]
) -> None:
    rows = twins(12)
    rows[2] = {**rows[2], **change}
    message = refused(write(path, rows), *parts)
    column = path.read_text().splitlines()[2].index(f'"{next(iter(change))}"') + 1
    assert f"stimuli.jsonl:3:{column}:" in message


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("emtion", "emotion"),
        ("label", "emotion"),
        ("Texte", "text"),
        ("sentence", "text"),
        ("intensty", "intensity"),
    ],
)
def test_06_a_misspelt_column_is_named_with_the_right_one(
    tmp_path: Path, wrong: str, right: str
) -> None:
    row = {"id": "a", "text": "x", "emotion": "joy", "intensity": "peak"}
    row = {wrong if name == right else name: value for name, value in row.items()}
    path = write(tmp_path / "a.jsonl", [row])
    refused(path, f"'{wrong}'", f"'{right}'", "did you mean")
    table = tmp_path / "a.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([row.keys(), row.values()])
    refused(
        table, f"a.csv:2:{list(row).index(wrong) + 1}:", f"'{wrong}'", f"'{right}'", "did you mean"
    )


def test_06_columns_with_other_names_are_kept_and_whole_numbers_serve_as_ids(path: Path) -> None:
    rows = [
        {**row, "pair": int(str(row["pair"])[1:]), "tense": "past", "rating": 0.5}
        for row in twins()
    ]
    battery = stimuli.load(write(path, rows))
    assert battery.items[0].fields == {"tense": "past", "rating": 0.5}
    assert battery.items[2].pair == "1"


def test_06_a_table_row_with_a_cell_too_many_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,emotion\n"two\nlines",joy\nno quotes, so a comma splits,joy\n')
    refused(path, "a.csv:4:3", "3 cells", "2")
    path.write_text("text,emotion,text\na,joy,b\n")
    refused(path, "a.csv:1:3", "'text' occurs twice")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"id": "a", "text": "x"', ":2:24: not JSON"),
        ('["a", "b"]', "expected one JSON object per line"),
        ('{"id": "a", "id": "b"}', "'id' occurs twice"),
        ('{"id": "a", "score": NaN}', "NaN"),
    ],
)
def test_06_broken_json_is_placed(path: Path, line: str, part: str) -> None:
    path.write_text(json.dumps(item(0, "joy", pair=None)) + "\n" + line + "\n")
    refused(path, "stimuli.jsonl:2", part)


def test_07_variants_of_a_label_are_refused_and_merged_on_request(path: Path) -> None:
    rows = twins(12)
    rows[0]["emotion"] = "Joy "
    refused(
        write(path, rows),
        "stimuli.jsonl:1:",
        "unknown emotion 'Joy '",
        "did you mean 'joy'?",
        "--normalise-labels",
    )
    battery = stimuli.load(path, normalise_labels=True)
    assert battery.emotions == ("joy",)
    assert "label 'Joy ' -> 'joy' (1 rows)" in battery.notes
    for row in rows:
        row["emotion"] = str(row["emotion"]).strip().capitalize()
    refused(write(path, rows), "'Joy'", "did you mean 'joy'?")
    assert (
        stimuli.load(path, normalise_labels=True).where(arm="neutral").items[0].emotion == "neutral"
    )


def test_07_a_misspelt_label_is_refused_whatever_is_asked(path: Path) -> None:
    rows = [
        *twins(12, "sadness"),
        *({**row, "id": f"x{row['id']}", "pair": f"x{row['pair']}"} for row in twins(1, "sadnes")),
    ]
    rows[-1]["text"], rows[-2]["text"] = "One text.", "Another text."
    refused(
        write(path, rows),
        "unknown emotion 'sadnes' (1 rows)",
        "did you mean 'sadness'?",
        normalise_labels=True,
    )
    assert stimuli.load(path, emotions=["sadness", "sadnes"]).emotions == ("sadnes", "sadness")
    refused(
        path,
        "no text is labelled 'sadnesss'",
        "did you mean 'sadness'?",
        emotions=["sadness", "sadnes", "sadnesss"],
    )


def test_emotions_keeps_the_named_ones_with_their_twins(path: Path) -> None:
    rows = [
        *twins(12),
        *(
            {**row, "id": f"f{row['id']}", "pair": f"f{row['pair']}", "text": f"F{row['text']}"}
            for row in twins(12, "fear")
        ),
    ]
    battery = stimuli.load(write(path, rows), emotions=["fear"])
    assert (battery.emotions, len(battery.pairs()), len(battery)) == (("fear",), 12, 24)


def test_08_bytes_that_are_not_utf8_are_placed_and_the_encoding_guessed(path: Path) -> None:
    good = json.dumps(item(0, "joy", pair=None)) + "\n"
    bad = good.replace("joy-0", "joy-1").replace("Person", "Ren\xe9").encode("cp1252")
    path.write_bytes(good.encode() + bad)
    offset = len(good) + bad.index(b"\xe9")
    refused(path, f"byte {offset} (0xe9)", "windows-1252", "stimuli.jsonl:2:")
    path.write_bytes(good.encode("utf-32"))
    refused(path, "byte 0 (0xff)", "utf-32")
    table = path.with_suffix(".csv")
    table.write_bytes("text,emotion\ncaf\xe9,joy\n".encode("latin-1"))
    refused(table, "byte 16", "windows-1252")


def test_09_marks_and_line_ends_are_taken_off_and_noted(path: Path) -> None:
    plain = stimuli.load(write(path, twins()))
    text = path.read_text()
    lines = text.splitlines()
    path.write_bytes(
        b"\xef\xbb\xbf" + ("\r\n".join(lines[:8]) + "\r" + "\n".join(lines[8:])).encode()
    )
    dressed = stimuli.load(path)
    assert dressed.sha256 == plain.sha256
    assert {"a byte order mark was removed", "line ends CRLF or CR were read as LF"} <= set(
        dressed.notes
    )
    assert dressed.warnings == ()


def test_09_line_ends_inside_a_text_do_not_depend_on_the_file(tmp_path: Path) -> None:
    for name, end in (("unix.csv", b"\n"), ("windows.csv", b"\r\n")):
        (tmp_path / name).write_bytes(
            b"text,emotion" + end + b'"first line' + end + b'second line",joy' + end
        )
    unix, windows = stimuli.load(tmp_path / "unix.csv"), stimuli.load(tmp_path / "windows.csv")
    assert unix.items[0].text == windows.items[0].text == "first line\nsecond line"


@pytest.mark.parametrize("column", ["text", "id", "group", "note"])
def test_10_control_characters(path: Path, column: str) -> None:
    rows = twins(12)
    rows[3] = {**rows[3], column: "bell \x07 rings"}
    refused(write(path, rows), "stimuli.jsonl:4:", "U+0007", "--allow-control")
    battery = stimuli.load(path, allow_control=True)
    assert any(
        "control characters were let through (1)" in w and "\x07" not in w for w in battery.warnings
    )
    rows[3][column] = "nul \0 here"
    refused(write(path, rows), "NUL", allow_control=True)


def test_10_a_raw_nul_is_refused_and_names_are_escaped_on_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "evil\x1b[31m.jsonl"
    path.write_bytes(b'{"id": "a", "text": "a\0b", "emotion": "joy"}\n')
    message = refused(path, "NUL at byte 22", "\\x1b[31m")
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("safe \u202etxet", "U+202E"),
        ("zero\u200bwidth", "U+200B"),
        ("jo\u200din", "U+200D"),
        ("p\u0430ypal", "U+0430"),
    ],
)
def test_11_hidden_characters_are_named_or_refused(path: Path, text: str, point: str) -> None:
    rows = twins(12)
    rows[5]["text"] = f"Person 2 read {text} aloud twice."
    battery = stimuli.load(write(path, rows))
    assert any(point in warning and warning.isprintable() for warning in battery.warnings)
    refused(path, point, "--strict", strict=True)


def test_11_other_scripts_and_joined_emoji_are_no_finding(path: Path) -> None:
    rows = twins(12)
    rows[0]["text"], rows[2]["text"] = (
        "Она открыла письмо и прочла его дважды снова вечером.",
        "The family \U0001f468\u200d\U0001f469\u200d\U0001f467 sat down and read it twice.",
    )
    assert stimuli.load(write(path, rows), strict=True).warnings == ()


def test_12_lone_surrogates_are_refused(path: Path) -> None:
    path.write_text('{"id": "a", "text": "broken \\ud83d here", "emotion": "joy"}\n')
    refused(path, "lone surrogate U+D83D", "stimuli.jsonl:1:13", allow_control=True)
    path.write_bytes(b'{"id": "a", "text": "broken \xed\xa0\xbd here", "emotion": "joy"}\n')
    refused(path, "not UTF-8")


def test_13_twins_in_two_unicode_forms_are_named(path: Path) -> None:
    rows = twins(12)
    rows[0]["text"], rows[1]["text"] = (
        "The caf\u00e9 gave her the prize today.",
        "The cafe\u0301 gave her the menu today.",
    )
    battery = stimuli.load(write(path, rows))
    assert any("NFC" in warning and "'p0'" in warning for warning in battery.warnings)
    rows[1]["text"] = "The cafe\u0301 gave her the prize today."
    refused(write(path, rows), "identical")


@pytest.mark.parametrize("text", ["", "  \n\t", "\u200b\u2060", "\u00a0"])
def test_14_empty_texts_are_refused(path: Path, text: str) -> None:
    rows = twins(12)
    rows[7] = {**rows[7], "text": text}
    refused(write(path, rows), "row 'neutral-3' has an empty text", "stimuli.jsonl:8:")


def test_15_a_long_text_is_kept_whole_for_the_model_to_judge(path: Path) -> None:
    text = "word " * 5000 + "end"
    battery = stimuli.load(write(path, [item(0, "joy", text, pair=None)]))
    assert battery.items[0].text == text


@pytest.mark.parametrize("special", ["<|endoftext|>", "</s>", "<pad>", "[PAD]", "<start_of_turn>"])
def test_16_names_of_special_tokens_are_found(path: Path, special: str) -> None:
    rows = twins(12)
    rows[0]["text"] = f"She wrote {special} on the board and left."
    battery = stimuli.load(write(path, rows))
    assert any("special token" in warning and special in warning for warning in battery.warnings)


def test_17_a_length_confound_is_given_as_an_effect_size(path: Path) -> None:
    rows = twins(12)
    assert stimuli.load(write(path, rows)).warnings == ()
    for number, row in enumerate(rows):
        row["text"] = (
            str(row["text"])
            + " more" * (number % 3)
            + (" and then some" if row["emotion"] == "joy" else "")
        )
    warning = " ".join(stimuli.load(write(path, rows)).warnings)
    words = [
        [len(str(r["text"]).split()) for r in rows if (r["emotion"] == "joy") is joy]
        for joy in (True, False)
    ]
    means = [sum(w) / 12 for w in words]
    spread = (
        sum(sum((x - m) ** 2 for x in w) / 11 for w, m in zip(words, means, strict=True)) / 2
    ) ** 0.5
    assert f"d = {(means[0] - means[1]) / spread:.2f}" in warning
    rows[0]["text"] = str(rows[1]["text"]) + " long" * 20
    assert "'p0'" in " ".join(stimuli.load(write(path, rows)).warnings)


def test_18_caps_name_the_limit_and_can_be_raised(path: Path) -> None:
    write(path, twins(12))
    refused(path, "more than 10 rows", "Limits(rows=", limits=Limits(rows=10))
    refused(
        path, "stimuli.jsonl:1:1", "longer than 50 bytes", "row_bytes", limits=Limits(row_bytes=50)
    )
    assert len(stimuli.load(path, limits=Limits(rows=24))) == 24
    deep = "[" * 40 + "]" * 40
    path.write_text(f'{{"id": "a", "text": "[not [depth", "emotion": "joy", "x": {deep}}}\n')
    refused(path, "nested 41 deep, the limit is 16")
    assert len(stimuli.load(path, limits=Limits(depth=41))) == 1


def test_18_bombs_end_quickly(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b'{"a":' * 200_000)
    refused(path, "nested 200000 deep")
    path.write_bytes(b'{"id": "' + b"a" * 11_000_000 + b'"}')
    refused(path, "longer than 1,048,576 bytes")
    path.write_bytes(b'{"id": ' + b"9" * 100_000 + b', "text": "a", "emotion": "joy"}')
    refused(path, "stimuli.jsonl:1:1", "a number of 100000 digits")
    table = tmp_path / "open.csv"
    table.write_bytes(b'text,emotion\n"' + (b"never closed " * 100 + b"\n") * 1000)
    refused(table, "open.csv:2:1", "a quoted cell opened here")
    document = tmp_path / "anger.json"
    document.write_text(json.dumps(["You lost."] * 50))
    refused(document, "the limit is 100", limits=Limits(file_bytes=100))


def test_19_formulas_are_defused_in_csv_alone(path: Path, tmp_path: Path) -> None:
    rows = twins(12)
    rows[0]["text"], rows[2]["text"] = '=HYPERLINK("http://x")', "+1 for the idea"
    rows[4]["@note"] = "-3"
    battery = stimuli.load(write(path, rows))
    stimuli.save(battery, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as stream:
        cells = list(csv.reader(stream))
    assert cells[1][1] == '\'=HYPERLINK("http://x")'
    assert cells[3][1] == "'+1 for the idea"
    assert cells[0][-1] == "'@note"
    assert cells[5][-1] == "'-3"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in cells for cell in row)
    stimuli.save(battery, tmp_path / "out.jsonl")
    assert stimuli.load(tmp_path / "out.jsonl").items[0].text == rows[0]["text"]


def test_20_ids_that_look_like_paths_are_data_only(tmp_path: Path) -> None:
    rows = twins(12)
    for row, name in zip(rows, ["../../x", "a/b", "CON", "/etc/passwd", "..\\x"], strict=False):
        row["id"] = name
    rows[0]["group"] = "../../up"
    folder = tmp_path / "here"
    folder.mkdir()
    battery = stimuli.load(write(folder / "s.jsonl", rows))
    assert [i.id for i in battery.items[:3]] == ["../../x", "a/b", "CON"]
    stimuli.save(battery, folder / "t.jsonl")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["here", "s.jsonl", "t.jsonl"]
    assert stimuli.load(folder / "t.jsonl").sha256 == battery.sha256


def test_unknown_names_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean sev_style"):
        stimuli.load("sev_stile")
    with pytest.raises(UsageError, match=r"named 'a\\x00b'"):
        stimuli.load("a\0b")
    with pytest.raises(UsageError, match="is no path"):
        stimuli.load("a" * 5000)
    with pytest.raises(DataError, match="folder without"):
        stimuli.load(tmp_path)
    (tmp_path / "prose.txt").write_text("Once upon a time.\n")
    refused(tmp_path / "prose.txt", "no known format", "Once upon a time.")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing of the kind")
    refused(tmp_path / "a.parquet", "cannot be read as Parquet")


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    with pytest.raises((UsageError, ResourceError)):
        stimuli.load(tmp_path / "loop.jsonl")
