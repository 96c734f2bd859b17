"""Sheets for people: blinded, shuffled, checked row by row, and scored as one more judge."""

import csv
import io

import numpy as np
import pytest

from interp.errors import ArtefactError, DataError, UsageError
from interp.evaluation.agreement import agreement
from interp.evaluation.sheets import choices_of, digest, read_sheet, sheet_of, sheet_rows
from interp.records import read_record
from interp.results import read_table
from interp.study.sheets import KEY_FILE, score_sheets
from support.commands import outcome
from support.crossed_texts import write

EMOTIONS = ["fear", "joy"]
WORDS = {"joy": "glad", "fear": "=afraid, he said\nand ran"}


def row(control, emotion, item, text, *, judge="a", verdict="", draw=0, half="report"):
    return {
        "control": control, "emotion": emotion, "item": item, "group": item[0], "text": text,
        "judge": judge, "verdict": verdict, "draw": draw, "half": half, "scale": 1.0,
    }  # fmt: skip


def evaluated():
    """Directions that make the text that is meant, a model that says nothing of it by itself; judge
    a hears joy everywhere."""
    rows = [row("", "joy", "p1", "never shown", half="choose")]
    for item in ("p1", "q1", "q2", "r1"):
        rows += [row("unsteered", "all", item, f"a road {item}", verdict="joy")]
        rows += [row("", emotion, item, WORDS[emotion], verdict="joy") for emotion in EMOTIONS]
        rows += [row("random", "all", item, f"mist {item}", verdict="joy")]
        rows += [row("random", "all", item, "second draw", draw=1)]
    rows[1]["text"] = "  "
    return rows


def filled(sheet, read):
    """The sheet with a person's verdicts."""
    header, *rows = csv.reader(io.StringIO(sheet))
    out = io.StringIO()
    csv.writer(out).writerows([header, *([mark, text, read(text)] for mark, text, _ in rows)])
    return out.getvalue()


def person(text):
    return "joy" if "glad" in text else "Fear " if "afraid" in text else "none"


@pytest.fixture
def sheet():
    return sheet_of(evaluated(), EMOTIONS, seed=3)


def test_a_sheet_shows_texts_and_nothing_of_what_made_them(sheet):
    content, key = sheet
    header, *rows = csv.reader(io.StringIO(content))
    assert header == ["id", "text", "emotion: fear, joy, none, unreadable"]
    texts = {"glad", "'=afraid, he said\nand ran", *(f"mist {i}" for i in ("p1", "q1", "q2", "r1"))}
    assert {text for _, text, _ in rows} == texts | {f"a road {i}" for i in ("q1", "q2", "r1")}
    assert len(rows) == 9  # each once; no blank text, no second draw, no other half
    assert (
        [mark for mark, _, _ in rows] == [f"T{number:03}" for number in range(1, 10)] == list(key)
    )
    assert {cell for _, _, cell in rows} == {""}
    assert all(key[mark] == digest(text) for mark, text, _ in rows)
    again = [
        list(csv.reader(io.StringIO(sheet_of(evaluated(), EMOTIONS, seed=s)[0]))) for s in (3, 4)
    ]
    assert again[0] == [header, *rows]
    assert sorted(one[1] for one in again[1]) == sorted(one[1] for one in again[0])
    assert [one[1] for one in again[1]] != [one[1] for one in again[0]]


def test_a_person_is_one_more_judge(sheet):
    content, key = sheet
    said = read_sheet("s.csv", filled(content, person), key, EMOTIONS)
    rows = sheet_rows(evaluated(), {"me": said})
    success = {
        (one["judge"], one["control"]): one["value"]
        for one in rows
        if one["metric"] == "success" and one["emotion"] == "all"
    }
    assert success["me", ""] == 1
    assert success["me", "unsteered"] == success["me", "random"] == success["me", "shuffled"] == 0
    assert success["a", ""] == success["a", "unsteered"] == 0.5
    (above,) = (
        one
        for one in rows
        if (one["judge"], one["metric"]) == ("me", "success_above") and one["target"] == "random"
    )
    assert above["value"] == 1
    (kappa,) = (one for one in rows if one["metric"] == "kappa")
    heard = [None, *["neutral"] * 3, *["fear"] * 4, *["joy"] * 4, *["neutral"] * 4]
    by_hand = agreement(heard, ["joy"] * 16, np.tile(["p", "q", "q", "r"], 4))
    assert (kappa["judge"], kappa["target"], kappa["n"]) == ("me", "a", 16)
    assert kappa["value"] == by_hand["value"]


@pytest.mark.parametrize("between", [";", ","])
def test_a_spreadsheet_may_save_it_its_own_way(sheet, between):
    """Columns turned round, other separators, line ends and white space, an empty row."""
    content, key = sheet
    header, *rows = csv.reader(io.StringIO(filled(content, person)))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=between, lineterminator="\r\n")
    turned = [[mark, cell.upper(), text.replace("\n", " \r\n")] for mark, text, cell in rows]
    writer.writerows([[header[0], header[2], header[1]], *turned, ["", "", ""]])
    expected = read_sheet("s.csv", filled(content, person), key, EMOTIONS)
    assert read_sheet("s.csv", out.getvalue(), key, EMOTIONS) == expected
    unreadable = read_sheet("s.csv", filled(content, lambda text: "unreadable"), key, EMOTIONS)
    assert set(unreadable.values()) == {None}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda rows: rows[2].__setitem__(2, "joi"), r"row 3 \(T002\): 'joi' is no choice.*'joy'"),
        (lambda rows: rows[4].__setitem__(2, " "), r"row 5 \(T004\): the emotion is not filled in"),
        (lambda rows: rows[5].__setitem__(0, "T99"), "row 6: the id 'T99' is none of this sheet's"),
        (lambda rows: rows[5].__setitem__(0, "T001"), "row 6: T001 stands in row 2 already"),
        (lambda rows: rows[1].__setitem__(1, "glad?"), "row 2: the text of T001 was changed"),
        (lambda rows: rows.pop(7), "lacks 1 of 9 rows, the first T007"),
        (lambda rows: rows[0].__setitem__(2, "mood"), "s.csv has no column 'emotion'"),
        (lambda rows: rows.clear(), "s.csv has no column 'id'"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_told_by_row(sheet, changed, message):
    content, key = sheet
    rows = list(csv.reader(io.StringIO(filled(content, person))))
    changed(rows)
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    with pytest.raises(DataError, match=message):
        read_sheet("s.csv", out.getvalue(), key, EMOTIONS)


def test_blank_texts_make_no_sheet():
    with pytest.raises(DataError, match="all texts are blank"):
        sheet_of([row("", "joy", "p1", " ")], EMOTIONS, seed=0)


def test_a_sheet_goes_from_the_command_to_a_person_and_back(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr("interp.study.trials.draw_all", lambda *_, **__: [])  # in other tests
    path, out = tmp_path / "to_fill.csv", tmp_path / "out"
    given = ("--model", tiny_folder("llama"), "--stimuli", write(tmp_path / "crossed.jsonl"))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the dog ran home\nshe was\nit was cold\nhe ran\nthey saw\na dog ran")
    asked = ("--prompts", prompts, "--draws", 1, "--max-new-tokens", 3, "--layers", 1)
    asked += ("--scales", 1, "--emotions", "joy,fear", "--instruction", "{emotion} {text}")
    asked += ("--judge", "lexicon", "--sheet", path)
    code, printed = outcome("evaluate-steering", *given, "--out", out, *asked)
    assert code == 0, printed
    assert f"interp score-sheet {path} --run {out}" in printed
    texts = read_table(out / "tables" / "steered_texts.csv")
    choices = choices_of(sorted(set(texts["emotion"]) - {"all"}))
    content = path.read_text("utf-8-sig")
    assert content.splitlines()[0] == f'id,text,"emotion: {", ".join(choices)}"'
    marks = [line.partition(",")[0] for line in (out / KEY_FILE).read_text().splitlines()[1:]]
    mine, yours = tmp_path / "mine.csv", tmp_path / "yours.csv"
    mine.write_text(filled(content, lambda text: choices[len(text) % 2]), "utf-8-sig")
    yours.write_text(filled(content, lambda text: choices[len(text) % 3]))
    code, printed = outcome("score-sheet", mine, yours, "--run", out, "--json")
    assert code == 0, printed
    for name in ("mine", "yours", "lexicon"):
        assert f'"{name}"' in printed
    scores = read_table(out / "tables" / "sheet_scores.csv")
    kappas = scores[scores["metric"] == "kappa"]
    assert set(zip(kappas["judge"], kappas["target"], strict=True)) == {
        ("mine", "yours"), ("mine", "lexicon"), ("yours", "lexicon"),
    }  # fmt: skip
    assert "sheet_scores" in read_record(out / "run.json").provenance["tables"]
    assert len(marks) == len(set(marks)) > 3
    code, printed = outcome("score-sheet", path, "--run", out)
    assert (code, "is not filled in" in printed) == (3, True)
    with pytest.raises(UsageError, match="two judges are called 'mine'"):
        score_sheets([mine, mine], out)
    (out / KEY_FILE).write_text("what")
    with pytest.raises(ArtefactError, match="is no key of a sheet"):
        score_sheets([mine], out)
    (out / KEY_FILE).unlink()
    with pytest.raises(ArtefactError, match="wrote no sheet"):
        score_sheets([mine], out)
    code, printed = outcome("evaluate-steering", *given, "--out", tmp_path / "new", *asked)
    assert (code, "is there already" in printed) == (4, True)
