"""Tables and run records: what is written comes back, what is incomplete is refused, nothing in them can run."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from interp.errors import ArtefactError, InternalError
from interp.results import COLUMNS, SCHEMA, RunRecord, check_table, read_record, read_table, software, table, write_table

RECORD = RunRecord("r1", "planted", "planted", 7, {"sites": ["resid_post"]}, {"revision": "0" * 40}, ("one warning",))


def rows() -> list[dict]:
    return [
        RECORD.row(site="blocks.0.hook_resid_post", layer=0, depth=0.25, method="logistic", metric="auroc", value=0.75,
                   ci_low=0.7, ci_high=0.8, n=80, position="last"),
        RECORD.row(method="length", metric="auroc", value=0.5, n=80, position="last"),
    ]  # fmt: skip


def test_a_table_comes_back_as_written(tmp_path: Path) -> None:
    frame = table(rows())
    assert tuple(frame.columns) == (*COLUMNS, "position")
    write_table(frame, tmp_path / "probes.csv")
    back = read_table(tmp_path / "probes.csv")
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert back["value"].tolist() == [0.75, 0.5]
    assert math.isnan(back["layer"][1])
    assert (back["run"] == "r1").all()
    assert (back["seed"] == 7).all()


def test_numbers_survive_to_the_last_digit(tmp_path: Path) -> None:
    frame = table([RECORD.row(method="m", metric="x", value=0.1 + 0.2, n=1)])
    write_table(frame, tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv")["value"][0] == 0.1 + 0.2


def test_a_column_of_some_numbers_stays_numbers(tmp_path: Path) -> None:
    """`p` stands on some rows only, and `emotion` may look like a number on some."""
    cells = [(0.5, "joy"), (math.nan, "7"), (1e-300, "")]
    frame = table([RECORD.row(method="m", metric="x", value=1.0, n=1, p=p, emotion=emotion) for p, emotion in cells])
    write_table(frame, tmp_path / "t.csv")
    back = read_table(tmp_path / "t.csv")
    assert back["p"].dropna().tolist() == [0.5, 1e-300]
    assert back["emotion"].tolist() == ["joy", "7", ""]


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    write_table(table([]), tmp_path / "t.csv")
    assert tuple(read_table(tmp_path / "t.csv").columns) == COLUMNS


def test_text_columns_keep_empty_and_none_like_words(tmp_path: Path) -> None:
    """An emotion called "None" or "NA" is a word; an empty control stays empty."""
    frame = table(
        [RECORD.row(method="m", metric="x", value=1.0, n=1, emotion=word, control="") for word in ("None", "NA", "nan")]
    )
    write_table(frame, tmp_path / "t.csv")
    back = read_table(tmp_path / "t.csv")
    assert back["emotion"].tolist() == ["None", "NA", "nan"]
    assert back["control"].tolist() == ["", "", ""]


def test_a_cell_cannot_be_a_formula(tmp_path: Path) -> None:
    hostile = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx"]
    frame = table([RECORD.row(method="m", metric="x", value=-1.0, n=1, text=text) for text in hostile])
    write_table(frame, tmp_path / "t.csv")
    back = read_table(tmp_path / "t.csv")
    assert back["text"].tolist() == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\tx", "'\nx"]
    assert (back["value"] == -1.0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": math.nan}, "needs its method, metric and n"),
        ({"metric": ""}, "needs its method, metric and n"),
        ({"method": ""}, "needs its method, metric and n"),
        ({"metric": None}, "needs its method, metric and n"),
        ({"value": "high"}, "column 'value' must hold numbers"),
        ({"ci_low": 0.9, "ci_high": 0.1}, "ci_low is above ci_high in row 0"),
    ],
)
def test_incomplete_rows_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InternalError, match=message):
        table([{**rows()[0], **change}])


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InternalError, match=r"lacks the columns \['depth'\]"):
        check_table(table(rows()).drop(columns="depth"))


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"\x00\x01\x02"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="is not a table of interp"):
        read_table(path)


def test_a_record_comes_back_as_written(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "run.json")
    assert read_record(tmp_path / "run.json") == RECORD


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"3", b'{"schema": "x"}', b"\xff", b'{"schema": 1, "warnings": [], "surprise": 1}']
)
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="is not a run record"):
        read_record(path)


def test_a_newer_record_is_refused(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "run.json")
    content = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**content, "schema": SCHEMA + 1}))
    with pytest.raises(ArtefactError, match=f"newer interp \\(schema {SCHEMA + 1}"):
        read_record(tmp_path / "run.json")


def test_software_names_what_computes() -> None:
    found = software()
    assert {"python", "numpy", "scikit-learn"} <= set(found)
    assert all(version for version in found.values())
