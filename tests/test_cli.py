"""The command line: exit codes and messages of `bad input`, help at once, and output that a
terminal cannot be driven by.
"""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interp.cli.printing import printable, show_json
from interp.directions import Direction
from interp.sites import Site
from support import matched_pairs
from support.commands import outcome

ROWS = matched_pairs.rows(16)


def run(stimuli: Path, out: Path, *extra: str, model: object) -> tuple[int, str]:
    return outcome("probe", "--model", str(model), "--stimuli", stimuli, "--out", out, *extra)


@pytest.fixture
def tiny(tiny_folder) -> str:
    return str(tiny_folder("gpt2"))


def changed(index: int, **fields: object) -> list[dict]:
    return [{**row, **(fields if i == index else {})} for i, row in enumerate(ROWS)]


STIMULI = {
    "1 empty file": ([], "0 usable"),
    "2 a pair without its twin": (ROWS[:-1], "--drop-unmatched"),
    "3 the same id twice": (changed(2, id="0-a"), "0-a"),
    "6 a number for a label": (changed(4, emotion=3.7), "emotion"),
    "7 a label with a space": (changed(6, emotion="anger "), "--normalise-labels"),
    "14 an empty text": (changed(1, text="  "), "0-b"),
    "20 a path for an emotion": (changed(0, emotion="../../x\0"), "NUL"),
}


@pytest.mark.parametrize("name", STIMULI)
def test_bad_stimuli_end_with_3_and_leave_nothing(name, tmp_path, tiny):
    rows, fragment = STIMULI[name]
    code, message = run(
        matched_pairs.write(tmp_path / "bad.jsonl", rows), tmp_path / "out", model=tiny
    )
    assert (code, fragment in message) == (3, True), message
    assert not (tmp_path / "out").exists()


def test_bytes_that_are_no_utf8_are_located(tmp_path, tiny):
    path = matched_pairs.write(tmp_path / "bad.jsonl", ROWS)
    path.write_bytes(path.read_bytes().replace(b"cold", b"c\xe9ld", 1))
    code, message = run(path, tmp_path / "out", model=tiny)
    assert code == 3
    assert "byte" in message


def test_text_longer_than_the_context_is_an_error_or_cut_on_demand(tmp_path, tiny):
    path = matched_pairs.write(tmp_path / "long.jsonl", changed(0, text="river " * 400))
    code, message = run(path, tmp_path / "out", model=tiny)
    assert code == 3
    assert "0-a" in message
    assert "128" in message
    code, _ = outcome(
        "capture",
        "--model",
        tiny,
        "--stimuli",
        path,
        "--out",
        tmp_path / "cut",
        "--truncate",
        "right",
    )
    assert code == 0


def test_special_tokens_inside_a_text(tmp_path, tiny):
    path = matched_pairs.write(
        tmp_path / "special.jsonl", changed(0, text="river <|endoftext|> bridge")
    )
    code, message = run(path, tmp_path / "out", model=tiny)
    assert code == 3
    assert "<|endoftext|>" in message


def test_names_that_are_near_a_testbed_are_told(tmp_path):
    code, message = run(
        matched_pairs.write(tmp_path / "a.jsonl"), tmp_path / "out", "--offline", model="storyword"
    )
    assert code == 2
    assert "storyworld" in message


def test_weights_that_could_run_code_are_refused(tmp_path, tiny_folder):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("gpt2"), folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    code, message = run(matched_pairs.write(tmp_path / "a.jsonl"), tmp_path / "out", model=folder)
    assert code == 4
    assert "safetensors" in message


def test_a_tokenizer_with_more_words_than_the_model_is_refused(tmp_path, tiny_folder):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("gpt2"), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    last = max(tokenizer["model"]["vocab"].values())
    tokenizer["model"]["vocab"] |= {f"extra{i}": last + 1 + i for i in range(3)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    code, message = run(matched_pairs.write(tmp_path / "a.jsonl"), tmp_path / "out", model=folder)
    assert code == 4
    assert "the tokenizer's ids go up to" in message


@pytest.mark.parametrize(
    ("sites", "fragment"),
    [
        ("resid_pots", "resid_post"),
        ("resid_post@9", "0..2"),
        ("resid_post@3-1", "1-3"),
        ("resid_post@-1", "0..2"),
    ],
)
def test_sites_that_the_model_lacks(sites, fragment, tmp_path, tiny):
    code, message = run(
        matched_pairs.write(tmp_path / "a.jsonl"), tmp_path / "out", "--sites", sites, model=tiny
    )
    assert code == 2
    assert fragment in message


def test_one_class_has_no_categories_and_too_many_folds_are_told(tmp_path, tiny):
    joy = [
        row for row in matched_pairs.rows(40) if row["pair"][1:] in {str(4 * i) for i in range(10)}
    ]
    path = matched_pairs.write(tmp_path / "joy.jsonl", joy)
    code, message = run(path, tmp_path / "out", "--folds", "12", model=tiny)
    assert code == 6
    assert "the largest valid number is" in message


def test_a_run_of_other_settings_is_refused_with_both_values(tmp_path, tiny):
    path = matched_pairs.write(tmp_path / "a.jsonl")
    common = ("capture", "--model", tiny, "--stimuli", path, "--out", tmp_path / "out")
    assert outcome(*common)[0] == 0
    code, message = outcome(*common, "--seed", "1")
    assert code == 4
    assert "seed: 0 there, 1 now" in message


def test_a_file_where_the_folder_should_be(tmp_path, tiny):
    (tmp_path / "out").write_text("here", encoding="utf-8")
    code, message = run(matched_pairs.write(tmp_path / "a.jsonl"), tmp_path / "out", model=tiny)
    assert code == 5
    assert "--out" in message


def test_inspect_tells_each_artefact_and_refuses_others(tmp_path, tiny):
    path = matched_pairs.write(tmp_path / "a.jsonl")
    assert outcome("capture", "--model", tiny, "--stimuli", path, "--out", tmp_path / "out")[0] == 0
    vector = np.eye(4)[0]
    Direction(vector, Site("resid_post", 1), "paired", ("joy", "neutral"), 1.0, 0.1).save(
        tmp_path / "joy.safetensors"
    )
    out = tmp_path / "out"
    kinds = {out: "run", out / "activations": "capture", path: "battery"}
    for artefact, kind in {**kinds, tmp_path / "joy.safetensors": "direction"}.items():
        code, output = outcome("inspect", artefact, "--json")
        assert (code, json.loads(output)[0]) == (0, {"what": "kind", "value": kind})
    assert outcome("inspect", tmp_path)[0] == 4
    code, output = outcome("verify", tmp_path / "out" / "activations", "--model", tiny, "--json")
    assert code == 0
    assert all(row["passed"] for row in json.loads(output))
    assert outcome("export", tmp_path / "out" / "activations", tmp_path / "one.h5")[0] == 0


def test_a_flipped_bit_is_found_named_and_repaired(tmp_path, tiny):
    path = matched_pairs.write(tmp_path / "a.jsonl")
    common = ("capture", "--model", tiny, "--stimuli", path, "--out", tmp_path / "out")
    assert outcome(*common)[0] == 0
    shard = next((tmp_path / "out" / "activations" / "shards").glob("*.h5"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    code, output = outcome("verify", tmp_path / "out" / "activations")
    assert code == 4
    assert shard.name in output
    assert outcome(*common, "--repair")[0] == 0
    assert shard.read_bytes() == whole


def test_a_dry_run_computes_nothing(tmp_path, tiny):
    path = matched_pairs.write(tmp_path / "a.jsonl")
    code, output = outcome(
        "run", "--model", tiny, "--stimuli", path, "--out", tmp_path / "out", "--dry-run", "--json"
    )
    assert code == 0
    assert {"what": "pairs", "value": 40} in json.loads(output)
    assert not (tmp_path / "out").exists()


def test_stimuli_are_listed_shown_and_converted(tmp_path):
    path = matched_pairs.write(tmp_path / "a.jsonl")
    assert {row["name"] for row in json.loads(outcome("stimuli", "list", "--json")[1])} >= {
        "planted",
        "storyworld",
        "sev_style",
    }
    shown = json.loads(
        outcome("stimuli", "show", path, "--emotions", "joy", "--most", "1", "--json")[1]
    )
    assert [row["id"] for row in shown] == ["0-a"]
    assert outcome("stimuli", "convert", path, tmp_path / "b.csv")[0] == 0
    assert outcome("stimuli", "convert", path, tmp_path / "b.xls")[0] == 2


def test_sites_and_doctor_of_a_model():
    sites = json.loads(outcome("sites", "planted", "--json")[1])
    assert {"resid_post", "z", "post"} <= {row["site"] for row in sites}
    code, output = outcome("doctor", "planted", "--json")
    assert code == 0
    assert all(row["passed"] for row in json.loads(output))


def test_printable_shows_what_would_drive_a_terminal():
    assert printable("a\x1b[2J\u202eb") == "a<U+001B>[2J<U+202E>b"


def test_what_was_not_measured_is_null_in_json(capsys):
    """NaN and Infinity are no JSON: other readers refuse them."""
    show_json({"rows": ({"value": math.nan, "n": 3}, {"value": math.inf}), "p": 0.5})
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told == {"rows": [{"value": None, "n": 3}, {"value": None}], "p": 0.5}


def test_the_process_exits_with_the_code_and_one_line(tmp_path):
    command = [
        sys.executable,
        "-c",
        "from interp.cli import main; main()",
        "stimuli",
        "show",
        str(tmp_path / "no.jsonl"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("interp: ")
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_heavy():
    heavy = "{'torch', 'numpy', 'pandas', 'rich'}"
    code = (
        f"import sys; from interp.cli import main\ntry: main()\nfinally: print({heavy} & "
        "set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("set()")
    assert "storyworld" in done.stdout


# random weights, 4 heads
@pytest.mark.filterwarnings("ignore:.*(no held-out length|too few others):UserWarning")
@pytest.mark.parametrize(
    ("command", "tables"),
    [("directions", {"directions", "cosines"}), ("ablate", {"contributions", "ablation"})],
)
def test_a_stage_command_writes_every_table_its_help_speaks_of(command, tables, tmp_path, tiny):
    path = matched_pairs.write(tmp_path / "a.jsonl")
    assert outcome(command, "--model", tiny, "--stimuli", path, "--out", tmp_path / "out")[0] == 0
    assert {file.stem for file in (tmp_path / "out" / "tables").glob("*.csv")} == tables
