"""`interp stimuli audit`: each fault planted in a good battery is found and named, in JSON, on
stderr, in table and figure.
"""

import json
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from click.testing import CliRunner, Result

from interp.analysis.baselines import words
from interp.cli import cli
from interp.errors import DataError, InterpError
from interp.reporting.battery import audit_figure
from interp.results import read_table
from interp.study.audit import token_counters

PACKAGE = Path(__file__).parent.parent / "stimuli"
ALL = [
    json.loads(line)
    for line in (PACKAGE / "plutchik.jsonl").read_text(encoding="utf-8").splitlines()
]
GROUPS = [row["group"] for row in ALL if row["arm"] == "keyword_free"][::8]
ROWS = [
    row
    for row in ALL
    if row["group"] in GROUPS and row["arm"] in ("keyword_free", "neutral", "keyword_rich")
]
Edit = Callable[[dict], str]


def file(folder: Path, rows: list[dict]) -> Path:
    path = folder / "mine.jsonl"
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def audit(*arguments: object) -> Result:
    with warnings.catch_warnings():
        # the reader's own remarks about a planted fault
        warnings.simplefilter("ignore", UserWarning)
        return CliRunner().invoke(cli, ["stimuli", "audit", *map(str, arguments)])


def edited(which: Callable[[dict], bool], edit: Edit) -> list[dict]:
    return [{**row, "text": edit(row)} if which(row) else row for row in ROWS]


def free(row: dict) -> bool:
    return row["arm"] == "keyword_free"


def first(row: dict) -> bool:
    return row["id"] == f"{GROUPS[0]}-keyword_free"


def failures(result: Result) -> dict[str, str]:
    """The failed rules that stderr names, with the places at fault; they must be those of the
    JSON.
    """
    assert result.exit_code == (3 if "failed:" in result.stderr else 0), result.exception
    named = dict(re.findall(r"^failed: (\w+): (.*)$", result.stderr, re.M))
    gate = json.loads(result.stdout)["gate"]
    assert {rule["rule"] for rule in gate["rules"] if not rule["passed"]} == set(named)
    assert gate["passed"] == (not named)
    return named


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Result, Path, float]:
    out = tmp_path_factory.mktemp("audit") / "out"
    start = time.process_time()
    result = audit("plutchik", "--json", "--out", out)
    return result, out, time.process_time() - start


def test_our_battery_passes_and_its_json_has_this_shape(whole) -> None:
    result, _, _ = whole
    assert failures(result) == {}
    found = json.loads(result.stdout)
    assert set(found) == {"gate", "baselines"}
    assert all(set(rule) == {"rule", "passed", "value", "bound"} for rule in found["gate"]["rules"])
    assert all(
        set(row) == {"baseline", "task", "auroc", "ci_low", "ci_high", "n"}
        for row in found["baselines"]
    )
    names = ["bag_of_words", "tfidf", "char", "negation", "length", "function_words"]
    tasks = ["reception", "categorisation"]
    assert [(row["task"], row["baseline"]) for row in found["baselines"]] == [
        (t, name) for t in tasks for name in names
    ]
    assert max(row["ci_high"] for row in found["baselines"] if row["task"] == "reception") <= 0.65
    assert {"length_words", "length_gpt2_style", "length_llama_style"} <= {
        rule["rule"] for rule in found["gate"]["rules"]
    }


def test_the_whole_battery_takes_at_most_thirty_seconds(whole) -> None:
    assert whole[2] <= 30


def test_the_table_says_what_the_json_says_and_the_figure_shows_it(whole) -> None:
    result, out, _ = whole
    found, table = json.loads(result.stdout), read_table(out / "audit.csv")
    baselines = table[table["method"] == "text_baseline"]
    np.testing.assert_allclose(baselines["value"], [row["auroc"] for row in found["baselines"]])
    assert table[table["method"] == "gate"]["metric"].tolist() == [
        rule["rule"] for rule in found["gate"]["rules"]
    ]
    coverage = table[table["method"] == "coverage"]
    assert coverage["value"].sum() == len(ALL)
    figure = audit_figure(table)
    points = [np.asarray(axes.lines[0].get_xdata()) for axes in figure.axes[:2]]
    np.testing.assert_allclose(np.concatenate(points), baselines["value"])
    cells = np.asarray(figure.axes[2].images[0].get_array())
    assert cells.shape == (8, 8)
    assert cells.sum() == sum(map(free, ALL))
    told = table[table["method"] == "length"].set_index("arm")
    lengths = [len(words(row["text"])) for row in ALL if row["arm"] == "keyword_free"]
    assert told.loc["keyword_free", "value"] == np.median(lengths)
    assert told.loc["keyword_free", "n"] == len(lengths)
    assert told.loc["keyword_free", "draw_high"] == np.quantile(lengths, 0.95)
    shown = [text.get_text() for text in figure.axes[3].get_yticklabels()]
    assert shown[:3] == ["neutral", "moderate", "keyword_free"]  # in the order of their dose
    assert "Every rule of the gate holds." in " ".join(
        text.get_text() for text in figure.findobj(mpl.text.Text)
    )
    assert (out / "audit.svg").stat().st_size > 10_000
    assert (out / "audit.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_of_our_battery_passes_too_so_that_what_follows_is_the_plants_doing(
    tmp_path,
) -> None:
    assert failures(audit(file(tmp_path, ROWS), "--json")) == {}


def test_a_keyword_a_repeated_text_and_a_wrong_label_are_named_in_one_run(tmp_path) -> None:
    rows = edited(first, lambda row: f"{row['text']} It was joyful.")
    rows[-1] = {**rows[-1], "text": rows[2]["text"]}
    labels = {row["emotion"] for row in ROWS} - {"neutral", rows[8]["emotion"]}
    rows[8] = {**rows[8], "emotion": min(labels)}
    found = failures(audit(file(tmp_path, rows), "--json"))
    assert f"{GROUPS[0]}-keyword_free: joyful" in found["emotion_words"]
    assert f"{rows[-1]['id']} repeats {rows[2]['id']}" in found["duplicate_text"]
    assert rows[8]["id"] in found["labels_agree"]


def test_a_length_bias_is_found_by_the_rules_and_by_the_baseline(tmp_path) -> None:
    padded = edited(
        free,
        lambda row: (
            f"{row['text']} The rain kept on over the yard and the roofs of the town that day."
        ),
    )
    found = failures(audit(file(tmp_path, padded), "--json"))
    assert {"baseline_length", "length_words", "length_gpt2_style", "length_llama_style"} <= set(
        found
    )
    assert f"{GROUPS[0]}: 0." in found["length_words"]


def test_a_planted_not_is_found_by_count_and_by_word(tmp_path) -> None:
    found = failures(
        audit(
            file(tmp_path, edited(free, lambda row: row["text"].replace(". ", ". Not so. ", 1))),
            "--json",
        )
    )
    assert "baseline_negation" in found
    assert "not (AUROC" in found["closed_class_words"]


def test_a_broken_pair_is_refused_by_name_and_may_be_left_out(tmp_path) -> None:
    path = file(tmp_path, [row for row in ROWS if row["id"] != f"{GROUPS[0]}-neutral"])
    result = audit(path, "--json")
    assert isinstance(result.exception, InterpError)
    assert isinstance(result.exception, DataError)
    assert GROUPS[0] in str(result.exception)
    assert "--drop-unmatched" in str(result.exception)
    assert "arms_aligned" not in failures(audit(path, "--json", "--drop-unmatched"))


def test_twins_of_different_scenarios_are_named(tmp_path) -> None:
    rows = [
        {**row, "group": "elsewhere"} if row["id"] == f"{GROUPS[0]}-neutral" else row
        for row in ROWS
    ]
    result = audit(file(tmp_path, rows), "--json")
    assert isinstance(result.exception, DataError)
    assert f"the pair '{GROUPS[0]}' lies in two groups" in str(result.exception)


def test_a_battery_too_small_to_test_fails_and_still_has_its_figure(tmp_path) -> None:
    result = audit(file(tmp_path, ROWS[:3]), "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "baseline_all" in result.stderr
    figure = audit_figure(read_table(tmp_path / "out" / "audit.csv"))
    assert "not measured" in {text.get_text() for text in figure.findobj(mpl.text.Text)}


def test_byte_pairs_split_rare_words_and_keep_common_ones() -> None:
    texts = [row["text"] for row in ALL]
    counters = token_counters(texts)
    for name in ("gpt2_style", "llama_style"):
        total, words = (sum(map(counters[kind], texts)) for kind in (name, "words"))
        # with punctuation and pieces of words, about what real vocabularies give
        assert 1.1 < total / words < 2.5
        assert counters[name](" the table") < counters[name](" blancmange")
