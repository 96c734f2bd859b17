"""Each format of others loads as the same Battery, told apart by content; ours survives a round
trip.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import stimuli
from interp.errors import DataError, ResourceError, UsageError
from stimuli import Battery, Stimulus


def jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ours(count: int = 40) -> list[dict[str, object]]:
    return [
        {
            "id": f"{kind}{n}",
            "text": f"{n} {told} before noon.",
            "emotion": emotion,
            "pair": f"p{n}",
        }
        for n in range(count)
        for kind, told, emotion in (
            ("a", "runners lost the cup", "sadness"),
            ("b", "runners held the cup", "neutral"),
        )
    ]


def aipsy() -> list[dict[str, object]]:
    def row(
        name: str, emotion: str, text: str, control: str | None, split: str, intensity: str
    ) -> dict[str, object]:
        return {
            "id": name,
            "emotion": emotion,
            "intensity": intensity,
            "domain": 2,
            "domain_label": f"D-{emotion}",
            "matched_control_id": control,
            "word_count": len(text.split()),
            "text": text,
            "split": split,
        }

    return [
        row(
            "B-rage-1",
            "rage",
            "He found his tyres cut for the third time.",
            "N-rage-1",
            "clinical",
            "peak",
        ),
        row("M-rage-1", "rage", "He found a dent in his door.", "N-rage-1", "moderate", "moderate"),
        row(
            "N-rage-1",
            "neutral",
            "He found his tyres rotated by the garage.",
            "B-rage-1",
            "neutral",
            "none",
        ),
        row(
            "B-grief-1",
            "grief",
            "Her side of the bed was still made.",
            "N-grief-1",
            "clinical",
            "peak",
        ),
        row(
            "N-grief-1",
            "neutral",
            "The side bed in the ward was made.",
            "B-grief-1",
            "neutral",
            "none",
        ),
        row(
            "C-1",
            "neutral",
            "Six cranes swung over the harbour at dawn.",
            None,
            "complex_neutral",
            "none",
        ),
    ]


def write_csv(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return path


def check_aipsy(battery: Battery) -> None:
    assert "format: AIPsy-Affect" in battery.notes
    by_id = {i.id: i for i in battery}
    assert [(p.affective.id, p.neutral.id) for p in battery.pairs()] == [
        ("B-rage-1", "N-rage-1"),
        ("B-grief-1", "N-grief-1"),
    ]
    assert {i.id: i.arm for i in battery} == {
        "B-rage-1": "keyword_free",
        "M-rage-1": "moderate",
        "N-rage-1": "neutral",
        "B-grief-1": "keyword_free",
        "N-grief-1": "neutral",
        "C-1": "complex_neutral",
    }
    assert (
        by_id["M-rage-1"].group
        == by_id["B-rage-1"].group
        == by_id["N-rage-1"].group
        != by_id["C-1"].group
    )
    assert by_id["M-rage-1"].pair is None
    assert by_id["N-rage-1"].domain == "D-rage"
    assert battery.emotions == ("grief", "rage")


def test_ours_needs_no_more_than_id_text_emotion_and_pair(tmp_path: Path) -> None:
    battery = stimuli.load(jsonl(tmp_path / "mine.jsonl", ours()))
    assert (battery.name, len(battery.pairs()), battery.emotions) == ("mine", 40, ("sadness",))
    assert all(i.group == i.pair for i in battery)
    assert all(i.arm == ("neutral" if i.emotion == "neutral" else "keyword_free") for i in battery)


def test_what_is_saved_loads_back_to_the_same_digest(tmp_path: Path) -> None:
    rows = [
        {
            **row,
            "tense": "past",
            "tags": ["a", {"b": None}],
            "arm": "neutral" if n % 2 else "keyword_free",
            "domain": 3,
        }
        for n, row in enumerate(ours())
    ]
    battery = stimuli.load(jsonl(tmp_path / "mine.jsonl", rows))
    assert "format: ours" in battery.notes
    again = stimuli.load(stimuli.save(battery, tmp_path / "copy.jsonl"))
    assert (again.items, again.sha256) == (battery.items, battery.sha256)
    with pytest.raises(UsageError, match=r"\.jsonl or \.csv"):
        stimuli.save(battery, tmp_path / "copy.txt")
    clash = Battery("b", (Stimulus("i", "t", "joy", fields={"arm": 1}),))
    with pytest.raises(DataError, match="'arm'"):
        stimuli.save(clash, tmp_path / "copy.jsonl")


def test_plain_tables_keep_unknown_columns(tmp_path: Path) -> None:
    rows = [{"text": 'She said "no, thanks" and left.', "emotion": "saudade", "source": "a, b"}]
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t"), ("a.dat", ";")):
        battery = stimuli.load(write_csv(tmp_path / name, rows, delimiter))
        item = battery.items[0]
        assert (item.id, item.text, item.emotion, dict(item.fields)) == (
            "a-000002",
            rows[0]["text"],
            "saudade",
            {"source": "a, b"},
        )
    assert stimuli.load(jsonl(tmp_path / "a.jsonl", rows)).items[0].fields == {"source": "a, b"}
    (tmp_path / "blank.csv").write_text('\n\n"text","emotion"\nA note.,joy\n')
    assert stimuli.load(tmp_path / "blank.csv").items[0].id == "blank-000004"
    pq.write_table(
        pa.Table.from_pylist([{**rows[0], "score": float("nan")}]), tmp_path / "a.parquet"
    )
    assert stimuli.load(tmp_path / "a.parquet").items[0].fields == {"source": "a, b", "score": None}


def test_aipsy_affect_as_csv_parquet_and_a_folder_of_splits(tmp_path: Path) -> None:
    rows = aipsy()
    check_aipsy(stimuli.load(write_csv(tmp_path / "aipsy.csv", rows)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "aipsy.parquet")
    check_aipsy(stimuli.load(tmp_path / "aipsy.parquet"))
    unsplit = [{k: v for k, v in row.items() if k != "split"} for row in rows]
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    for split in ("clinical", "neutral", "moderate", "complex_neutral"):
        part = [bare for row, bare in zip(rows, unsplit, strict=True) if row["split"] == split]
        pq.write_table(pa.Table.from_pylist(part), folder / f"{split}-00000-of-00001.parquet")
    battery = stimuli.load(tmp_path / "hub")
    assert sorted(i.id for i in battery) == sorted(str(row["id"]) for row in rows)
    assert {i.arm for i in battery} == {"keyword_free", "neutral", "moderate", "complex_neutral"}
    assert len(battery.pairs()) == 2


def test_a_control_may_be_named_from_either_side_and_a_lost_one_is_named(tmp_path: Path) -> None:
    rows = aipsy()
    for forget in ("B-", "N-"):
        part = [
            {**row, "matched_control_id": None} if str(row["id"]).startswith(forget) else row
            for row in rows
        ]
        assert len(stimuli.load(jsonl(tmp_path / "one_way.jsonl", part)).pairs()) == 2
    lost = [row for row in rows if row["id"] != "N-grief-1"]
    with pytest.raises(DataError, match=r"1 of 2 pairs.*'N-grief-1' \(1 affective, 0 neutral\)"):
        stimuli.load(jsonl(tmp_path / "lost.jsonl", lost))
    battery = stimuli.load(tmp_path / "lost.jsonl", drop_unmatched=True)
    assert (len(battery), len(battery.pairs())) == (4, 1)
    with pytest.raises(DataError, match="the split 'odd'"):
        stimuli.load(jsonl(tmp_path / "odd.jsonl", [{**rows[0], "split": "odd"}]))


def test_affect_reception(tmp_path: Path) -> None:
    def row(
        name: str,
        emotion: str,
        kind: str,
        text: str,
        control: str | None = None,
        domain: int | None = 1,
    ) -> dict[str, object]:
        label = f"{emotion} scenes" if domain else ""
        return {
            "id": name, "text": text, "emotion": emotion, "intensity": "peak", "domain": domain,
            "domain_label": label, "stimulus_set": kind, "matched_control_id": control,
            "word_count": 7, "token_count": None, "has_emotion_keyword": None,
        }  # fmt: skip

    rows = [
        row(
            "B-terror-1",
            "terror",
            "B_clinical",
            "The ice cracked twice behind the last child.",
            "N-terror-1",
        ),
        row(
            "N-terror-1",
            "neutral",
            "neutral",
            "The ice creaked twice behind the last cart.",
            "B-terror-1",
        ),
        row(
            "A-terror-1", "terror", "A_standard", "I felt terror when the ice cracked.", None, None
        ),
        row(
            "A-neutral-1", "neutral", "A_standard", "I bought bread and a pint of milk.", None, None
        ),
    ]
    battery = stimuli.load(jsonl(tmp_path / "ar.jsonl", rows))
    assert "format: affect-reception" in battery.notes
    assert [i.arm for i in battery] == ["keyword_free", "neutral", "keyword_rich", "neutral"]
    assert [(p.affective.id, p.neutral.id) for p in battery.pairs()] == [
        ("B-terror-1", "N-terror-1")
    ]
    assert battery.items[0].fields["domain_number"] == 1
    assert battery.items[1].domain == "terror scenes"
    assert battery.emotions == ("terror",)
    assert stimuli.relabel(battery, "peaks").emotions == ("fear",)


def test_sev_gives_three_texts_a_scenario_in_one_group(tmp_path: Path) -> None:
    rows = [
        {
            "theme": "work",
            "scenario": "A review.",
            "skeleton_id": f"work-{n}",
            "event": {
                "positive": f"{n} praised it.",
                "neutral": f"{n} read it.",
                "negative": f"{n} tore it up.",
            },
        }
        for n in range(3)
    ]
    battery = stimuli.load(jsonl(tmp_path / "sev.jsonl", rows))
    assert "format: SEV" in battery.notes
    assert (len(battery), battery.emotions, battery.pairs()) == (9, ("negative", "positive"), ())
    assert [len(items) for _, items in battery.split(by="group")] == [3, 3, 3]
    assert battery.items[0].domain == "work"
    assert battery.items[0].fields == {"scenario": "A review.", "skeleton_id": "work-0"}
    del rows[1]["event"]["neutral"]  # type: ignore[attr-defined]
    with pytest.raises(
        DataError, match=r"sev\.jsonl:2:\d+: an event needs .* \['negative', 'positive'\]"
    ):
        stimuli.load(jsonl(tmp_path / "sev.jsonl", rows))
    del rows[2]["event"]
    with pytest.raises(DataError, match="an event needs"):
        stimuli.load(
            jsonl(tmp_path / "sev.jsonl", rows[2:] if "event" in rows[2] else [rows[0], rows[2]])
        )


def test_repe_takes_the_emotion_from_the_file_name_alone_or_in_a_folder(tmp_path: Path) -> None:
    for emotion in ("anger", "happiness"):
        (tmp_path / f"repe_{emotion}.json").write_text(
            json.dumps([f"{emotion} scene {n}: you wait." for n in range(4)], indent=1)
        )
    alone = stimuli.load(tmp_path / "repe_happiness.json")
    assert (alone.emotions, alone.items[0].id) == (("happiness",), "happiness-0001")
    both = stimuli.load(tmp_path)
    assert (both.emotions, len(both)) == (("anger", "happiness"), 8)
    (tmp_path / "repe_anger.json").write_text('["a", 3]')
    with pytest.raises(DataError, match="other things than strings"):
        stimuli.load(tmp_path / "repe_anger.json")


def test_goemotions_keeps_single_labels_and_counts_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(
        'That "was" odd, [NAME]\t26\tid1\nGreat, and sad\t17,25\tid2\n'
        'Ok\t27\tid3\n"Unclosed\t2\tid4\n'
    )
    battery = stimuli.load(path)
    assert "format: GoEmotions" in battery.notes
    assert [(i.id, i.emotion, i.arm) for i in battery] == [
        ("id1", "surprise", "keyword_free"),
        ("id3", "neutral", "neutral"),
        ("id4", "anger", "keyword_free"),
    ]
    assert battery.items[2].text == '"Unclosed'
    assert any("left out 1 of 4 rows: they carry several labels" in w for w in battery.warnings)
    path.write_text("Text\t28\tid1\n")
    with pytest.raises(
        DataError, match=r"train\.tsv:1:2: '28' is not a list of label ids from 0 to 27"
    ):
        stimuli.load(path)


@pytest.mark.parametrize("fill", [b"\xff\xfe\x00", b"caf\xe9 ", b"\x07", b"\0"])
def test_each_reader_refuses_bad_bytes(tmp_path: Path, fill: bytes) -> None:
    files = {
        "ours.jsonl": b'{"id": "a", "text": "x@", "emotion": "joy"}\n',
        "sev.jsonl": b'{"theme": "t", "scenario": "s", "skeleton_id": "1", '
        b'"event": {"positive": "@", "neutral": "b", "negative": "c"}}\n',
        "plain.csv": b"text,emotion\nx@,joy\n",
        "anger.json": b'["x@"]\n',
        "go.tsv": b"ok\t27\tid0\nx@\t2\tid1\n",
        "aipsy.csv": b"id,emotion,text,matched_control_id\n1,rage,x@,\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.replace(b"@", fill))
        with pytest.raises(DataError, match=name):
            stimuli.load(tmp_path / name)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.Table.from_pylist([{"text": "a", "emotion": "joy"}]), tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ResourceError, match="pip install pyarrow"):
        stimuli.load(tmp_path / "a.parquet")


def test_importing_stimuli_is_light() -> None:
    code = (
        "import sys, stimuli; print(sorted({'numpy', 'pandas', 'pyarrow', 'torch', 'sklearn'} "
        "& set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
