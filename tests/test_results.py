"""Tables and run records: what is written comes back, what is incomplete is refused, nothing in
them can run.
"""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from interp.errors import ArtefactError, InternalError
from interp.files import sha256_bytes
from interp.records import SCHEMA, RunRecord, read_record, software
from interp.results import (
    COLUMNS,
    check_table,
    read_table,
    read_tables,
    table,
    table_bytes,
    table_path,
    undigested,
    write_table,
)

RECORD = RunRecord(
    "r1",
    "planted",
    "planted",
    7,
    {"sites": ["resid_post"]},
    {"revision": "0" * 40},
    ("one warning",),
)


def rows() -> list[dict]:
    return [
        RECORD.row(
            site="blocks.0.hook_resid_post",
            layer=0,
            depth=0.25,
            method="logistic",
            metric="auroc",
            value=0.75,
            ci_low=0.7,
            ci_high=0.8,
            n=80,
            position="last",
        ),
        RECORD.row(method="length", metric="auroc", value=0.5, n=80, position="last"),
    ]


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
    frame = table(
        [
            RECORD.row(method="m", metric="x", value=1.0, n=1, p=p, emotion=emotion)
            for p, emotion in cells
        ]
    )
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
        [
            RECORD.row(method="m", metric="x", value=1.0, n=1, emotion=word, control="")
            for word in ("None", "NA", "nan")
        ]
    )
    write_table(frame, tmp_path / "t.csv")
    back = read_table(tmp_path / "t.csv")
    assert back["emotion"].tolist() == ["None", "NA", "nan"]
    assert back["control"].tolist() == ["", "", ""]


def test_a_cell_cannot_be_a_formula(tmp_path: Path) -> None:
    hostile = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx"]
    frame = table(
        [RECORD.row(method="m", metric="x", value=-1.0, n=1, text=text) for text in hostile]
    )
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
    told = replace(
        RECORD,
        verdict=({"what": "a claim", "verdict": "found", "estimate": 0.9, "p": None},),
        answer={"sentence": "In m, nothing.", "badges": [{"says": "no", "estimate": 0.1}]},
    )
    told.write(tmp_path / "run.json")
    assert read_record(tmp_path / "run.json") == told
    older = json.loads((tmp_path / "run.json").read_text())
    del older["verdict"], older["answer"]
    (tmp_path / "run.json").write_text(json.dumps(older))
    assert read_record(tmp_path / "run.json") == RECORD


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"3",
        b'{"schema": "x"}',
        b"\xff",
        b'{"schema": 1, "warnings": [], "surprise": 1}',
    ],
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


def edited(change: dict | list) -> str:
    """run.json with some fields changed."""
    content = {"schema": SCHEMA, **{name: getattr(RECORD, name) for name in RunRecord.__slots__}}
    return json.dumps({**content, **change} if isinstance(change, dict) else change, default=str)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config": ["resid_post"]}, "config holds a list, expected dict"),
        ({"provenance": []}, "provenance holds a list, expected dict"),
        ({"provenance": {"seconds": 3}}, r"provenance\.seconds holds a int, expected dict"),
        (
            {"provenance": {"seconds": {"probes": "3"}}},
            r"seconds\.probes holds a str, expected int or float",
        ),
        ({"provenance": {"tables": {"probes": 3}}}, r"tables\.probes holds a int, expected str"),
        ({"provenance": {"readout": []}}, r"provenance\.readout holds a list, expected dict"),
        (
            {"provenance": {"readout": {"words": {}}}},
            r"readout\.suffix holds a NoneType, expected str",
        ),
        (
            {"provenance": {"readout": {"suffix": "", "words": {"joy": ["joy"]}}}},
            r"readout\.words\.joy holds a list, expected dict",
        ),
        ({"provenance": {"model": "gpt2"}}, r"provenance\.model holds a str, expected dict"),
        ({"warnings": "one"}, "warnings holds a str, expected list"),
        ({"warnings": [1]}, r"warnings\[0\] holds a int, expected str"),
        ({"run": None}, "run holds a NoneType, expected str"),
        ({"seed": True}, "seed holds a bool, expected int"),
        ({"seed": 0.5}, "seed holds a float, expected int"),
        ({"model": {}}, "model holds a dict, expected str"),
        ({"verdict": {}}, "verdict holds a dict, expected list"),
        ({"answer": []}, "answer holds a list, expected dict"),
        ({"provenance": {"examples": {}}}, r"provenance\.examples holds a dict, expected list"),
        (
            {"provenance": {"examples": [{"emotion": "joy", "affective": 3}]}},
            r"examples\[0\]\.affective holds a int, expected str",
        ),
        ({"verdict": ["found"]}, r"verdict\[0\] holds a str, expected dict"),
        ({"schema": [1]}, "not supported between"),
    ],
)
def test_a_field_of_another_type_is_named(tmp_path: Path, change: dict, told: str) -> None:
    (tmp_path / "run.json").write_text(edited(change))
    with pytest.raises(ArtefactError, match=f"is not a run record of interp: .*{told}"):
        read_record(tmp_path / "run.json")


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"schema": ' + "9" * 5000 + "}"], ids=["nested", "digits"]
)
def test_a_record_that_no_parser_takes_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ArtefactError, match="is not a run record"):
        read_record(tmp_path / "run.json")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_neither_record_nor_table(tmp_path: Path, make) -> None:
    make(tmp_path / "x")
    for read in (read_record, read_table):
        with pytest.raises(ArtefactError, match="cannot be read: it is a"):
            read(tmp_path / "x")


def test_a_record_is_joined_stage_by_stage() -> None:
    one = RECORD.joined(
        warnings=["a", "one warning"], seconds={"probes": 1.0}, tables={"probes": "x"}
    )
    both = one.joined(
        warnings=["b", "a"], seconds={"patching": 2.0}, tables={"probes": "y"}, model={"m": 1}
    )
    assert both.warnings == ("one warning", "a", "b")
    assert both.provenance == {
        **RECORD.provenance,
        "seconds": {"probes": 1.0, "patching": 2.0},
        "tables": {"probes": "y"},
        "model": {"m": 1},
    }
    assert RECORD.warnings == ("one warning",)


def test_a_table_is_known_by_its_digest(tmp_path: Path) -> None:
    data = table_bytes(table(rows()))
    (tmp_path / "tables").mkdir()
    table_path(tmp_path, "probes").write_bytes(data)
    RECORD.write(tmp_path / "run.json")
    assert undigested(tmp_path, ["probes", "steering"]) == ["probes"]
    assert list(read_tables(tmp_path, ["probes", "steering"])) == ["probes"]
    RECORD.joined(tables={"probes": sha256_bytes(data)}).write(tmp_path / "run.json")
    assert undigested(tmp_path, ["probes", "steering"]) == []
    pd.testing.assert_frame_equal(
        read_tables(tmp_path, ["probes"])["probes"], table(rows()), check_dtype=False
    )
    table_path(tmp_path, "probes").write_bytes(data.replace(b"0.75", b"0.95"))
    with pytest.raises(
        ArtefactError, match=r"probes\.csv was changed after it was written.*Delete it"
    ):
        read_tables(tmp_path, ["probes"])
