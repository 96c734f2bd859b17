"""scripts/compare_runs: equal tables are equal in any order of columns, and one digit is seen."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "compare_runs"
TABLE = "run,site,metric,value\na,resid_post,auroc,0.912345678\na,resid_post,auroc,0.5\na,z,p,\n"


def folder(path: Path, table: str, name: str = "probes") -> Path:
    (path / "tables").mkdir(parents=True, exist_ok=True)
    (path / "tables" / f"{name}.csv").write_text(table)
    return path


def compared(monkeypatch, capsys, *paths: Path) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, paths)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return ended.value.code, capsys.readouterr().out


def test_another_run_and_another_order_are_no_difference(tmp_path, monkeypatch, capsys):
    one = folder(tmp_path / "one", TABLE)
    renamed = TABLE.replace("\na,", "\nb,")
    swapped = [",".join(reversed(line.split(","))) for line in renamed.splitlines()]
    other = folder(tmp_path / "other", "\n".join(swapped))
    folder(other, "site,value\nz,1\n", name="steering")
    code, told = compared(monkeypatch, capsys, one, other)
    assert code == 0
    assert told == "steering: only in the second\nprobes: 3 rows equal\n"


@pytest.mark.parametrize(
    ("old", "new", "fragment"),
    [
        ("0.912345678", "0.912345679", "value: 0.912345678 -> 0.912345679, site resid_post"),
        ("0.5", "0.50", "value: 0.5 -> 0.50"),
        ("z,p", "z,q", "only in one: site z, metric"),
    ],
)
def test_a_digit_and_a_row_are_seen(old, new, fragment, tmp_path, monkeypatch, capsys):
    one = folder(tmp_path / "one", TABLE)
    other = folder(tmp_path / "other", TABLE.replace(old, new))
    code, told = compared(monkeypatch, capsys, one, other)
    assert code == 1
    assert fragment in told


def test_two_answers_of_truth(tmp_path, monkeypatch, capsys):
    rows = '[{"what": "direction", "value": 0.99, "where": "blocks.1"}]'
    (tmp_path / "one.json").write_text(rows)
    (tmp_path / "other.json").write_text(rows.replace("0.99", "0.98"))
    paths = [tmp_path / "one.json", tmp_path / "other.json"]
    assert compared(monkeypatch, capsys, *paths) == (
        1,
        "truth: 1 differences\n  value: 0.99 -> 0.98, what direction, where blocks.1\n",
    )


def test_a_folder_without_tables_is_told(tmp_path, monkeypatch, capsys):
    code, _ = compared(monkeypatch, capsys, tmp_path, tmp_path)
    assert "holds no tables" in str(code)
