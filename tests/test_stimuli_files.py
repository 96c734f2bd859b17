"""Files as people have them: each kind reads to the same battery, or is refused with its remedy."""

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import stimuli
from interp.errors import DataError, ResourceError, UsageError
from stimuli import Battery, Limits
from support import matched_pairs

ROWS = matched_pairs.rows(8)
TEXTS = [(row["text"], row["emotion"]) for row in ROWS]


def table(path: Path, rows: list[list[str]], separator: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream, delimiter=separator).writerows(rows)
    return path


def grid(*names: str) -> list[list[str]]:
    return [list(names), *([row[name] for name in ROWS[0]] for row in ROWS)]


def workbook(path: Path, *sheets: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    for number, rows in enumerate(sheets):
        sheet = book.active if number == 0 else book.create_sheet(f"more{number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def saved(folder: Path, rows: list[dict], features: dict | None = None) -> Path:
    """A folder as `datasets.Dataset.save_to_disk` leaves it."""
    folder.mkdir(parents=True)
    arrow = pa.Table.from_pylist(rows)
    if features:
        meta = json.dumps({"info": {"features": features}})
        arrow = arrow.replace_schema_metadata({"huggingface": meta})
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", arrow.schema) as writer:
        writer.write_table(arrow)
    (folder / "dataset_info.json").write_text("{}")
    listed = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (folder / "state.json").write_text(json.dumps(listed))
    return folder


def same(battery: Battery) -> None:
    """The battery of `ROWS`."""
    assert [(i.id, i.text, i.emotion, i.pair) for i in battery] == [
        (row["id"], row["text"], row["emotion"], row["pair"]) for row in ROWS
    ]


def texts(battery: Battery) -> list[tuple[str, str]]:
    return [(item.text, item.emotion) for item in battery]


def refused(path: Path, *parts: str, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        stimuli.load(path, **options)  # type: ignore[arg-type]
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("separator", list(",;\t|"))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-bom"])
def test_tables_of_any_separator_and_either_encoding(tmp_path, separator, encoding) -> None:
    path = table(tmp_path / "t.csv", grid("id", "text", "emotion", "pair"), separator)
    plain = path.read_text(encoding="utf-8").replace("cold", "kühl")
    data = plain.encode(encoding.removesuffix("-bom"))
    path.write_bytes(b"\xfe\xff" + data if encoding.endswith("-bom") else data)
    battery = stimuli.load(path)
    assert [i.text for i in battery] == [row["text"].replace("cold", "kühl") for row in ROWS]
    assert ("UTF-16 was read" in battery.notes) == encoding.startswith("utf-16")


def test_json_in_every_form(tmp_path) -> None:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    forms = {
        "lines.jsonl": "\n".join(map(json.dumps, ROWS)),
        "one_line_records.json": json.dumps(ROWS),
        "pretty_records.json": json.dumps(ROWS, indent=2),
        "columns.json": json.dumps(columns),
        "pretty_columns.json": json.dumps(columns, indent=1),
        "pandas.json": json.dumps({n: dict(enumerate(c)) for n, c in columns.items()}),
        "split.json": json.dumps(
            {"columns": list(columns), "data": [list(row.values()) for row in ROWS]}
        ),
        "nested.json": json.dumps({"version": "1", "data": ROWS}),
    }
    for name, content in forms.items():
        (tmp_path / name).write_text(content)
        same(stimuli.load(tmp_path / name))
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
        same(stimuli.load(tmp_path / f"{name}.gz"))
    by_label = tmp_path / "labels.json"
    by_label.write_text(json.dumps({"joy": ["I won.", "I sang."], "anger": ["He lied."]}))
    assert texts(stimuli.load(by_label)) == [
        ("I won.", "joy"), ("I sang.", "joy"), ("He lied.", "anger"),
    ]  # fmt: skip


def test_json_that_is_no_table_is_refused_with_its_place(tmp_path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a", "emotion": "joy"},\n "b"]')
    refused(path, "a.json:2:1", "other things than strings")
    path.write_text('{"text": ["a", "b"], "emotion": ["joy"]}')
    refused(path, "'text' 2, 'emotion' 1")
    path.write_text('[{"text": "a", "emotion": "joy"},\n{"text" "b"}]')
    refused(path, "a.json:2:9: not JSON")
    path.write_text('[{"text": "a", "emotion": "joy"}] and more')
    refused(path, "Extra data")
    path.write_text('[{"text": "a", "emotion": "joy"} {"text": "a", "emotion": "joy"}]')
    refused(path, "a.json:1:34: not JSON")
    path.write_text("[]")
    refused(path, "an empty list")


def test_a_list_is_read_beyond_the_length_of_a_row(tmp_path) -> None:
    """On one line, as pandas writes it; each record is bounded, not the file."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS))
    same(stimuli.load(path, limits=Limits(row_bytes=300)))
    refused(path, "over 100 bytes", limits=Limits(row_bytes=100))


def test_gzip_and_what_is_packed_otherwise(tmp_path) -> None:
    content = "\n".join(map(json.dumps, ROWS)).encode()
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(content))
    battery = stimuli.load(tmp_path / "p.jsonl.gz")
    same(battery)
    assert battery.name == "p"
    others = {
        "b.jsonl.bz2": (b"BZh91AY", "bunzip2"), "b.xz": (b"\xfd7zXZ\0", "unxz"),
        "b.xls": (b"\xd0\xcf\x11\xe0", "save it as .xlsx"), "b.html": (b"<!doctype html>", "raw"),
        "b.zst": (b"\x28\xb5\x2f\xfd", "zstd -d"), "b.zip": (b"PK\x03\x04", "damaged zip"),
        "b.csv": (b"version https://git-lfs.github.com", "git lfs pull"),
        "b.db": (b"SQLite format 3\0", "export the table"),
    }  # fmt: skip
    for name, (start, remedy) in others.items():
        (tmp_path / name).write_bytes(start + b"\0" * 300)
        refused(tmp_path / name, remedy)
    packed = tmp_path / "p.parquet.gz"
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "p.parquet")
    packed.write_bytes(gzip.compress((tmp_path / "p.parquet").read_bytes()))
    refused(packed, "unpack it first")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    refused(tmp_path / "pipe.jsonl", "no regular file")


def test_the_command_for_another_encoding_mends_the_file(tmp_path) -> None:
    path = table(tmp_path / "it's old.csv", [["text", "emotion"], ["Ein kühler Tag.", "joy"]],
                 encoding="cp1252")  # fmt: skip
    message = refused(path, "it looks like windows-1252")
    subprocess.run(message.split("result: ")[1], shell=True, check=True)
    assert stimuli.load(tmp_path / "utf8-it's old.csv").items[0].text == "Ein kühler Tag."
    unmarked = "text,emotion\nA day.,joy\n".encode("utf-16-le")
    path.write_bytes(unmarked)
    message = refused(path, "it looks like utf-16le")
    subprocess.run(message.split("result: ")[1], shell=True, check=True)
    assert texts(stimuli.load(tmp_path / "utf8-it's old.csv")) == [("A day.", "joy")]
    packed = tmp_path / "p.csv.gz"
    packed.write_bytes(gzip.compress("text,emotion\nEin kühler Tag.,joy\n".encode("cp1252")))
    message = refused(packed, "gunzip -c")
    subprocess.run(message.split("result: ")[1], shell=True, check=True)
    assert stimuli.load(tmp_path / "utf8-p.csv").items[0].text == "Ein kühler Tag."
    path.write_bytes("text,emotion\nA day.,joy\n".encode("utf-32"))
    refused(path, "utf-32")


def test_workbooks(tmp_path) -> None:
    path = workbook(tmp_path / "p.xlsx", grid("id", "Text", "emotion", "pair"))
    same(stimuli.load(path))
    two = workbook(tmp_path / "two.xlsx", [["a note"], [3]], grid("id", "text", "emotion", "pair"))
    battery = stimuli.load(two)
    same(battery)
    assert "the sheet 'more1' was read" in battery.notes
    both = workbook(tmp_path / "both.xlsx", grid("id", "text", "emotion", "pair"),
                    grid("id", "text", "emotion", "pair"))  # fmt: skip
    refused(both, "several sheets", "'more1'")
    refused(workbook(tmp_path / "none.xlsx", [["a", "b"]]), "no sheet")
    gap = workbook(tmp_path / "gap.xlsx", [["text", "emotion"], ["A day.", "joy", "more"]])
    refused(gap, "gap.xlsx:2:3", "without a name")
    numbers = workbook(tmp_path / "n.xlsx", [["text", "emotion"], [], ["A day.", 3]])
    refused(numbers, "n.xlsx:3:2", "labels.txt")


def test_a_sheet_that_lies_about_its_size_is_read(tmp_path) -> None:
    from support.hostile_files import in_sheet

    path = tmp_path / "p.xlsx"
    path.write_bytes(in_sheet(b'ref="A1:B3"', b'ref="A1:XFD1048576"'))
    assert texts(stimuli.load(path)) == [("A day.", "joy"), ("A night.", "fear")]


@pytest.mark.parametrize(
    ("module", "name"), [("openpyxl", "p.xlsx"), ("pyarrow", "p.arrow"), ("pyarrow", "p.parquet")]
)
def test_without_the_library_the_command_is_given(tmp_path, monkeypatch, module, name) -> None:
    path = tmp_path / name
    if name.endswith("xlsx"):
        workbook(path, [["text", "emotion"], ["A day.", "joy"]])
    elif name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        with pa.ipc.new_file(path, pa.schema({"text": pa.string()})):
            pass
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ResourceError, match=f"pip install {module}"):
        stimuli.load(path)


def test_folders_of_save_to_disk(tmp_path) -> None:
    same(stimuli.load(saved(tmp_path / "one", ROWS)))
    for split, part in (("train", ROWS[:10]), ("test", ROWS[10:])):
        saved(tmp_path / "both" / split, part)
    (tmp_path / "both" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    battery = stimuli.load(tmp_path / "both")
    same(battery)
    assert "all splits were read: train, test" in battery.notes
    bare = [{"text": row["text"], "label": n % 2} for n, row in enumerate(ROWS)]
    names = {"label": {"names": ["sadness", "joy"], "_type": "ClassLabel"}}
    found = stimuli.load(saved(tmp_path / "labels", bare, names))
    assert [i.emotion for i in found] == ["sadness", "joy"] * 8
    assert found.items[0].id == "labels-0-000001"
    refused(saved(tmp_path / "bare", bare), "'emotion' is missing", "--columns emotion=label")
    (tmp_path / "one" / "data-00000-of-00001.arrow").unlink()
    refused(tmp_path / "one", "is missing, which state.json lists")


def test_label_lists_in_parquet_take_their_names_from_the_metadata(tmp_path) -> None:
    rows = [{"text": t, "labels": [n % 2], "id": f"e{n}"} for n, (t, _) in enumerate(TEXTS)]
    rows[3]["labels"] = [0, 1]
    names = {"_type": "ClassLabel", "names": ["envy", "awe"]}
    features = {"labels": {"feature": names, "_type": "Sequence"}}
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    path = tmp_path / "p.parquet"
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(meta), path)
    battery = stimuli.load(path)
    assert battery.emotions == ("awe", "envy")
    assert battery.items[0].emotion == "envy"
    assert any("carry several labels" in warning for warning in battery.warnings)
    pq.write_table(pa.Table.from_pylist(rows), path)
    refused(path, "27 does not occur, as in GoEmotions", "labels.txt")


def test_columns_in_any_case_and_by_hand(tmp_path) -> None:
    path = table(tmp_path / "a.csv", [[" TEXT", "Emotion", "Group"], ["A day.", "joy", "g"]])
    battery = stimuli.load(path)
    assert (texts(battery), battery.items[0].group) == ([("A day.", "joy")], "g")
    assert "the column 'Emotion' was read as emotion" in battery.notes
    (tmp_path / "a.jsonl").write_text('{"Text": "A day.", "EMOTION": "joy"}\n')
    assert texts(stimuli.load(tmp_path / "a.jsonl")) == [("A day.", "joy")]
    (tmp_path / "a.jsonl").write_text('{"Text": "", "EMOTION": "joy"}\n')
    refused(tmp_path / "a.jsonl", "a.jsonl:1:2:", "empty text")
    both = table(tmp_path / "both.csv", [["Text", "TEXT", "emotion"], ["A", "B", "joy"]])
    refused(both, "two columns can be read as text", "--columns text=NAME")
    named = table(tmp_path / "s.csv", [["Satz", "Gefühl", "text"], ["Ein Tag.", "Freude", "x"]])
    battery = stimuli.load(named, columns={"text": "Satz", "emotion": "Gefühl"})
    assert texts(battery) == [("Ein Tag.", "Freude")]
    assert battery.items[0].fields == {"text (in the file)": "x"}
    refused(named, "there is no column 'Saz'", "'Satz'", columns={"text": "Saz"})
    refused(named, "emotion", "--columns emotion=")
    for wrong in ({"txt": "Satz"}, {"text": "Satz", "emotion": "Satz"}):
        with pytest.raises(UsageError, match="--columns"):
            stimuli.load(named, columns=wrong)
    bare = table(tmp_path / "bare.csv", [["7", "A day.", "Freude"], ["8", "A night.", "Angst"]])
    battery = stimuli.load(bare, columns={"text": "2", "emotion": "3"})
    assert texts(battery) == [("A day.", "Freude"), ("A night.", "Angst")]
    refused(bare, "no column 4", columns={"text": "2", "emotion": "4"})
    refused(bare, "no known format", "--columns text=NAME")


@pytest.mark.parametrize("separator", [";", "\t", ","])
@pytest.mark.parametrize("first", ["text", "emotion"])
def test_two_cells_a_line_without_names(tmp_path, separator, first) -> None:
    rows = [["I feel fine today", "joy"], ["I was left alone", "sadness"], ["Go away!", "anger"]]
    path = table(
        tmp_path / "d.txt", rows if first == "text" else [r[::-1] for r in rows], separator
    )
    battery = stimuli.load(path)
    assert texts(battery) == [tuple(row) for row in rows]
    table(path, [*rows, ["I saw it", "somewhere"]], separator)
    refused(path, "no known format")


def test_a_text_that_only_begins_with_a_quote(tmp_path) -> None:
    path = tmp_path / "q.tsv"
    rows = ['"No" he said.\tjoy', 'He said "no" and "yes".\tfear', '"Never closed\tjoy']
    path.write_text("text\temotion\n" + "\n".join(rows) + "\n")
    battery = stimuli.load(path)
    assert [i.text for i in battery] == [row.split("\t")[0] for row in rows]
    assert any("quotes are part of the texts" in note for note in battery.notes)
    path.write_text('text,emotion\n"A, b",joy\n"C ""d"", e",joy\n"F" g,joy\n')
    refused(path, "q.tsv:4:1", "check the quotes")


def test_a_quote_that_swallows_rows_is_told(tmp_path) -> None:
    """Three rows to one reader, two to another."""
    path = tmp_path / "q.tsv"
    path.write_text('text\temotion\n"He said\tjoy\nno more\tfear\nand went"\tanger\n')
    refused(path, "q.tsv:2:1", "two readings fit")
    path.write_text('text\temotion\n"He said\nno more\nand went"\tanger\n')
    assert texts(stimuli.load(path)) == [("He said\nno more\nand went", "anger")]


def test_a_page_of_prose_is_no_table(tmp_path) -> None:
    path = tmp_path / "prose.txt"
    path.write_text("word " * 100_000)
    refused(path, "no known format")
    refused(path, "no column 2", columns={"text": "1", "emotion": "2"})


def test_what_spreadsheets_leave_behind(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text;emotion;;\nA day.;joy;;\n")
    assert texts(stimuli.load(path)) == [("A day.", "joy")]
    path.write_text("text;emotion;;\nA day.;joy;more;\n")
    refused(path, "a.csv:2:3: 4 cells")


def test_isear(tmp_path) -> None:
    rows = [["ID", "Field1", "SIT", "EMOT", "MYKEY"]]
    names = ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt")
    for n, name in enumerate(names, start=1):
        rows.append(["9", name, f"When I was {n} á\nyears old.á\n", str(n), f"k{n}"])
    path = table(tmp_path / "isear.csv", rows, "|")
    battery = stimuli.load(path)
    assert "format: ISEAR" in battery.notes
    assert [(i.id, i.emotion) for i in battery] == [(f"k{n}", e) for n, e in enumerate(names, 1)]
    assert battery.items[0].text == "When I was 1 years old."
    assert battery.items[0].fields["ID"] == "9"
    by_number = [[row[0], "1", *row[2:]] if n else row for n, row in enumerate(rows)]
    assert [i.emotion for i in stimuli.load(table(path, by_number, "|"))] == list(names)
    shifted = [[*r[:3], str(int(r[3]) - 1), r[4]] if n else r for n, r in enumerate(by_number)]
    refused(table(path, shifted, "|"), "'0' is not a list of label ids from 1 to 7", "labels.txt")
    path.write_bytes("|".join(rows[0]).encode() + b"\n1|joy|caf\xe1|1|k\n")
    refused(path, "iconv -f windows-1252")


def test_enisear_with_appraisals(tmp_path) -> None:
    rows = [
        ["Prior_Emotion", "Sentence", "Attention", "Pleasant"],
        ["Joy", "I felt ... when I won.", "1", "1"],
        ["Guilt", "I felt ... as I lied.", "0", "0"],
    ]
    battery = stimuli.load(table(tmp_path / "e.tsv", rows, "\t"))
    assert texts(battery) == [("I felt ... when I won.", "joy"), ("I felt ... as I lied.", "guilt")]
    assert battery.items[0].fields == {"Attention": "1", "Pleasant": "1"}


def test_emobank_labels_are_said_to_be_made_here(tmp_path) -> None:
    rows = [
        ["id", "split", "V", "A", "D", "text"],
        ["a", "train", "2.4", "3", "3", "He fell."],
        ["b", "dev", "3.5", "3", "3", "He sat."],
        ["c", "test", "3.6", "3", "3", "He won."],
    ]
    path = table(tmp_path / "emobank.csv", rows)
    battery = stimuli.load(path)
    assert [i.emotion for i in battery] == ["negative", "neutral", "positive"]
    assert battery.items[0].fields["V"] == "2.4"
    assert any("labels were made here" in warning for warning in battery.warnings)
    refused(table(path, [*rows, ["d", "dev", "7", "3", "3", "x y"]]), "emobank.csv:5:3", "1 to 5")


def test_one_column_per_emotion(tmp_path) -> None:
    names = ["text", "id", "anger", "fear", "joy", "neutral"]
    rows = [["A day.", "a", "0", "0", "1", "0"], ["A cat.", "b", "1", "1", "0", "0"],
            ["A dog.", "c", "0", "0", "0", "1"], ["A cow.", "d", "0", "0", "0", "0"]]  # fmt: skip
    path = table(tmp_path / "o.csv", [names, *rows])
    battery = stimuli.load(path)
    assert [(i.id, i.emotion, i.arm) for i in battery] == [
        ("a", "joy", "keyword_free"), ("c", "neutral", "neutral"),
    ]  # fmt: skip
    assert battery.items[0].fields == {}
    told = " ".join(battery.warnings)
    assert "1 of 4 rows: they carry several labels" in told
    assert "1 of 4 rows: they carry no label" in told
    refused(table(path, [names, ["A day.", "a", "0.3", "0", "1", "0"]]), "o.csv:2:3", "0 or 1")


def test_goemotions_raw_counts_what_two_raters_chose(tmp_path) -> None:
    from stimuli import scheme

    names = list(scheme("goemotions"))

    def row(name: str, *labels: str, unclear: str = "False") -> list[str]:
        chosen = ["1" if label in labels else "0" for label in names]
        return [f"Text {name}.", name, "a rater", unclear, *chosen]

    rows = [["text", "id", "rater_id", "example_very_unclear", *names],
            row("a", "joy"), row("a", "joy", "love"), row("a", "anger"),
            row("b", "joy"), row("b", "fear"),
            row("c", "fear", unclear="True"), row("c", "fear"),
            row("d", "neutral"), row("d", "neutral")]  # fmt: skip
    battery = stimuli.load(table(tmp_path / "goemotions_1.csv", rows))
    assert [(i.id, i.emotion) for i in battery] == [("a", "joy"), ("d", "neutral")]
    assert "a label counts that 2 raters chose" in battery.notes


def test_a_table_of_label_lists(tmp_path) -> None:
    lists = ["[0]", "[27]", "[1 2]", "[]", "[3]"]
    rows = [[f"Text {n}.", one, f"e{n}"] for n, one in enumerate(lists)]
    battery = stimuli.load(table(tmp_path / "l.csv", [["text", "labels", "id"], *rows]))
    assert [i.emotion for i in battery] == ["admiration", "neutral", "annoyance"]
    names = [["A day.", "['joy']", "a"], ["A cat.", "['joy', 'love']", "b"]]
    battery = stimuli.load(table(tmp_path / "l.csv", [["text", "labels", "id"], *names]))
    assert texts(battery) == [("A day.", "joy")]
    odd = table(tmp_path / "l.csv", [["text", "labels", "id"], ["A day.", "joy & fear", "a"]])
    refused(odd, "l.csv:2:2", "no list of label numbers")
