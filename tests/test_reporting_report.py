"""The report: the answer first, numbers equal to the tables', every string as text, nothing that
runs.
"""

import re

import numpy as np
import pandas as pd
import pytest

from interp.errors import ArtefactError
from interp.files import write_atomic
from interp.records import RunRecord
from interp.reporting.figures import draw_all
from interp.reporting.finding import Caution, Question
from interp.reporting.findings import cautions, findings
from interp.reporting.formatting import interval, number, p_value, told_number, visible
from interp.reporting.printed_rows import MOST_ROWS
from interp.reporting.report import write_report
from support.report_pages import folder, page
from support.reporting_tables import EMOTIONS, MAKERS, all_tables

TABLES = all_tables(EMOTIONS[:2])


def changed(table: pd.DataFrame, value: float, **wanted) -> pd.DataFrame:
    keep = np.logical_and.reduce([table[name] == of for name, of in wanted.items()])
    assert keep.any()
    return table.assign(
        value=table["value"].mask(keep, value),
        ci_low=table["ci_low"].mask(keep, value),
        ci_high=table["ci_high"].mask(keep, value),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A results folder of all stages, with the figures of one."""
    path = folder(tmp_path_factory.mktemp("run") / "out", TABLES)
    draw_all({"probes": TABLES["probes"]}, path / "figures")
    return path


@pytest.fixture(scope="module")
def read(whole):
    return page(whole)


def test_the_report_reads_from_the_answer_to_provenance(read):
    text = read.text
    order = [
        "The answer, in one sentence",
        "In storyworld, a linear probe tells",
        "Represented beyond the words",
        "To be read with it",
        "12 texts hold an emotion word.",
        "Contents",
        "What was found",
        "Probes:",
        "Directions:",
        "Patching:",
    ]
    order += ["Contributions:", "Ablation:", "Steering:", "words of this page", "ab" * 32]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.startswith("interp report: storyworld on storyworld Emotion in storyworld")


def told(row: pd.Series) -> str:
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


def top(stage: str, **wanted) -> pd.Series:
    table = TABLES[stage]
    keep = np.logical_and.reduce([table[name] == value for name, value in wanted.items()])
    return table.loc[table[keep]["value"].idxmax()]


HEADLINES = {
    "probes": [
        {"task": "reception", "metric": "nested_auroc"},
        {"task": "categorisation", "metric": "nested_auroc"},
        {"task": "reception", "metric": "above_text", "target": "char"},
    ],
    "directions": [{"emotion": one, "metric": "nested_auroc"} for one in EMOTIONS[:2]],
    "patching": [
        {"emotion": "all", "metric": "nested_restoration", "position": where}
        for where in ("last", "edit")
    ],
    "contributions": [{"component": one, "metric": "contribution"} for one in ("head", "neuron")],
    "ablation": [
        {
            "component": kind,
            "metric": "label_logprob_change",
            "control": "",
            "emotion": "all",
            "k": 16,
        }
        for kind in ("head", "neuron")
    ],
    "steering": [
        {"emotion": "joy", "metric": "success", "control": "", "half": "report"},
        {"emotion": "all", "metric": "success", "control": "", "half": "report"},
        {"emotion": "all", "metric": "success_above", "half": "report"},
        {"emotion": "all", "metric": "label_logprob_gain", "control": "", "scale": 1.0},
    ],
}


@pytest.mark.parametrize("stage", HEADLINES)
def test_headline_numbers_are_the_tables(read, stage):
    own = findings({stage: TABLES[stage]})
    for wanted in HEADLINES[stage]:
        expected = told(top(stage, **wanted))
        assert any(expected in (each.value, *dict(each.beside).values()) for each in own), expected
        assert expected in read.text


def test_every_headline_has_what_it_is_held_against():
    held = {finding.stage: dict(finding.beside) for finding in reversed(findings(TABLES))}
    held["probes"] = next(
        dict(each.beside)
        for each in findings(TABLES)
        if (each.about, each.answers) == ("categorisation", Question.REPRESENTED)
    )
    assert held["probes"]["best text baseline, char"] == "0.620 [0.570, 0.670]"
    assert held["probes"]["labels learned by heart, same place"] == "0.500 [0.460, 0.540]"
    assert held["probes"]["more than length is told, same place"] == "0.430 [0.380, 0.480]"
    assert held["probes"]["above char, paired"] == "0.290 [0.230, 0.350]"
    peak = findings({"probes": TABLES["probes"].assign(p_max_t=0.0004)})
    assert dict(peak[0].beside)["p of a ridge probe, largest of 18 places (max-T)"] == "p < 0.001"
    assert held["patching"]["another scenario's state, same place"] == "0.020 [-0.030, 0.070]"
    assert held["patching"]["difference to restore (nats)"] == "4.000 [3.500, 4.500]"
    neurons = next(
        each for each in findings(TABLES) if each.stage == "ablation" and each.about == "neuron"
    )
    assert dict(neurons.beside)["random neurons"] == "-0.114 (draws -0.214 to -0.014)"
    success = next(each for each in findings(TABLES) if "judged by oracle" in each.sentence)
    assert "interval over prompts" in success.sentence
    assert dict(success.beside)["unsteered"] == "0.050"
    assert dict(success.beside)["random"] == "0.080"
    assert dict(success.beside)["valid share"] == "0.990"
    assert "did not choose the strength" in success.sentence


def test_a_value_without_an_interval_says_so(tmp_path):
    bare = {stage: table.assign(ci_low=np.nan, ci_high=np.nan) for stage, table in TABLES.items()}
    assert all(
        found.value.endswith("(no interval)")
        for found in findings(bare)
        if found.value and "mean" not in found.value
    )
    assert "0.620 (no interval)" in page(folder(tmp_path / "bare", bare)).text


def test_a_sound_run_raises_no_doubt():
    carried = TABLES["transfer"]
    calm = carried.assign(
        value=carried["value"].mask(carried["test_arm"] == "complex_neutral", 0.1)
    )
    calm.loc[calm["test_arm"] == "complex_neutral", ["ci_low", "ci_high"]] = [0.05, 0.15]
    close = TABLES["attribution"]
    value = close["value"].mask(close["metric"] == "relative_error", 0.1)
    close = close.assign(value=value.mask(close["metric"] == "rank_correlation", 0.97))
    assert cautions({**TABLES, "transfer": calm, "attribution": close}) == []


@pytest.mark.parametrize(("low", "warned"), [(-0.001, True), (0.001, False)])
def test_a_baseline_that_the_probe_is_not_surely_above_is_a_warning(tmp_path, low, warned):
    """It is the paired difference that counts, and not how near the two values lie."""
    probes = TABLES["probes"]
    mine = (
        (probes["task"] == "reception")
        & (probes["metric"] == "above_text")
        & (probes["target"] == "char")
    )
    probes = probes.assign(ci_low=probes["ci_low"].mask(mine, low))
    text = page(folder(tmp_path / "out", {"probes": probes})).text
    assert (
        "reception: the text baseline char reaches" in text.split("What was found")[0]
    ) == warned
    assert ("not told apart from the words alone (AUROC" in text) == warned
    assert "categorisation: the text baseline" not in text


@pytest.mark.parametrize(
    ("stage", "change", "warning"),
    [
        (
            "probes",
            {"value": 0.01, "task": "reception", "control": "nuisance", "metric": "selectivity"},
            "whether the probe tells more of the emotion than of length (0.010 [0.010, 0.010])",
        ),
        (
            "directions",
            {"value": 0.3, "emotion": "joy", "metric": "split_half_cosine"},
            "of 2 emotions 1 have an unstable best direction (cosine of two halves below 0.5): joy",
        ),
        ("steering", {"value": 0.8, "metric": "valid"}, "only 0.800 of the steered continuations"),
        (
            "steering",
            {"value": 0.9, "metric": "success", "control": "random", "emotion": "trust"},
            "toward trust the emotion's direction is not told apart from a random one",
        ),
    ],
)
def test_numbers_that_a_control_reaches_are_doubted(stage, change, warning):
    (doubt,) = cautions({stage: changed(TABLES[stage], change.pop("value"), **change)})
    assert doubt.stage == stage
    assert warning in doubt.text


@pytest.mark.parametrize(
    ("p", "draws", "doubted"),
    [(0.001, 120, False), (0.2, 120, True), (0.25, 3, False), (0.5, 3, True)],
)
def test_chosen_parts_are_held_against_each_random_draw(p, draws, doubted):
    """Three draws give no p below .25: then none of them may do as much."""
    table = TABLES["ablation"]
    own = (table["emotion"] == "joy") & (table["component"] == "head")
    own &= table["metric"] == "projection_drop"
    table = table.assign(
        p=table["p"].mask(own & (table["control"] == ""), p),
        n=table["n"].mask(own & (table["control"] == "random"), draws),
    )
    texts = [doubt.text for doubt in cautions({"ablation": table})]
    assert (
        texts
        == [
            "for joy the chosen heads are not told apart from random ones by what they "
            "take from the projection."
        ]
        * doubted
    )


def test_success_that_random_directions_may_reach_is_doubted():
    """A point above theirs is not enough: its interval has to be."""
    table = TABLES["steering"]
    own = {"metric": "success", "control": "", "half": "report", "emotion": "joy"}
    mine = np.logical_and.reduce([table[name] == value for name, value in own.items()])
    near = table.assign(ci_low=table["ci_low"].where(~mine, 0.07))  # random ones reach .08
    (doubt,) = cautions({"steering": near})
    assert doubt.text.startswith("toward joy the emotion's direction is not told apart")


def test_emotions_whose_words_do_not_rise_are_named():
    """The finding is of their mean: one that falls must not hide behind the others."""
    table = TABLES["steering"]
    own = {"metric": "label_logprob_gain", "control": "", "emotion": EMOTIONS[0]}
    mine = np.logical_and.reduce([table[name] == value for name, value in own.items()])
    falling = table.assign(ci_low=table["ci_low"].where(~mine, -0.5))
    (doubt,) = cautions({"steering": falling})
    assert doubt.text.startswith("at strength 1 the direction does not surely raise its own words")
    assert EMOTIONS[0] in doubt.text
    assert EMOTIONS[1] not in doubt.text


def test_missing_baselines_few_pairs_and_unmeasured_rows_are_doubted():
    probes = TABLES["probes"]
    alone = probes[probes["control"].isin(["", "memorisation"])]
    assert (
        sum("no text baseline was measured" in doubt.text for doubt in cautions({"probes": alone}))
        == 2
    )
    assert "rest on 5 pairs" in cautions({"patching": TABLES["patching"].assign(n=5)})[0].text
    hole = changed(TABLES["contributions"], np.nan, component="head", emotion="joy")
    assert cautions({"contributions": hole}) == [
        Caution(
            "contributions",
            "53 of 884 rows of the table contributions were not measured; figures and headlines "
            "leave them out.",
        )
    ]
    cosines = TABLES["cosines"].assign(value=TABLES["cosines"]["value"].where([False] * 4))
    assert {doubt.stage for doubt in cautions({"cosines": cosines})} == {"directions"}


def test_no_score_stands_beside_an_invalid_condition(tmp_path):
    unread = changed(TABLES["steering"], 0.3, metric="valid")
    first = next(
        finding
        for finding in findings({"steering": unread})
        if "judged by oracle" in finding.sentence
    )
    assert first.value == ""
    assert dict(first.beside) == {"valid share": "0.300"}
    nothing = TABLES["probes"].assign(value=np.nan, ci_low=np.nan, ci_high=np.nan)
    (said,) = findings({"probes": nothing})
    assert said.value == ""
    assert "No number can be given" in page(folder(tmp_path / "out", {"probes": nothing})).text


def test_patching_without_an_effect_is_told_without_a_number():
    table = TABLES["patching"]
    (said,) = findings({"patching": table[table["metric"] != "restoration"]})
    assert (said.value, said.beside) == ("", (("difference (nats)", "4.000 [3.500, 4.500]"),))


def test_a_stage_that_did_not_run_is_said_to_be_missing(tmp_path):
    text = page(folder(tmp_path / "out", {"probes": TABLES["probes"]})).text
    assert "Not run: steering." in text.split("What was found")[0]
    assert "Not run: this folder has no tables/steering.csv." in text
    assert "No figure was drawn for this stage." in text
    assert "No stage was run." in page(folder(tmp_path / "empty", {})).text


def test_hostile_strings_are_shown_and_never_run(tmp_path):
    evil = '<script>alert("x")</script>'
    names = (evil, "jo\u202ey", "=HYPERLINK(1)")
    record = RunRecord(
        run="\x1b[31mr", model=f'"><img src=x onerror=alert(1)>{evil}', battery="{{ 7 * 7 "
                                                                                "}}\ud800", seed=0,
        provenance={"model": {evil: "</table>\u200b"}}, warnings=(evil,),
    )  # fmt: skip
    steering = MAKERS["steering"](names)
    found = page(folder(tmp_path / "out", {"steering": steering}, record))
    assert not [
        tag for tag, _ in found.tags if tag in ("script", "iframe", "object", "img", "svg", "link")
    ]
    assert not [
        name for _, attributes in found.tags for name in attributes if name.startswith("on")
    ]
    assert found.text.count(evil) >= 4
    assert "jo⟨U+202E⟩y" in found.text
    assert "'=HYPERLINK(1)" in found.text
    assert "{{ 7 * 7 }}⟨U+D800⟩" in found.text
    assert "⟨U+001B⟩[31mr" in found.text
    assert "</table>⟨U+200B⟩" in found.text


def test_a_figure_with_a_script_is_only_ever_an_image(tmp_path):
    path = folder(
        tmp_path / "out", {"cosines": TABLES["cosines"], "directions": TABLES["directions"]}
    )
    (path / "figures").mkdir()
    write_atomic(
        path / "figures" / "direction_cosines.svg",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    )
    write_atomic(path / "figures" / "stranger.svg", b"<svg/>")
    text = write_report(path).read_text()
    assert "alert(1)" not in text
    assert "stranger" not in text
    assert text.count("data:image/svg+xml;base64,") == 1


def test_the_page_is_whole_accessible_and_asks_for_nothing(whole, read):
    found = read
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    assert len(images) > 2
    assert {image["alt"].split(".")[0] for image in images} == {"Figure of the stage probes"}
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in images)
    assert "default-src 'none'" in next(
        a["content"] for tag, a in found.tags if a.get("http-equiv")
    )
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1
    ids = [a["id"] for _, a in found.tags if "id" in a]
    links = [a["href"] for tag, a in found.tags if tag == "a"]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert all((whole / link).exists() for link in links if not link.startswith("#"))
    assert all("scope" in a for tag, a in found.tags if tag == "th")


def test_long_tables_and_long_strings_are_cut_with_a_way_to_the_rest(tmp_path):
    record = RunRecord(
        run="r", model="m", battery="b", seed=0, provenance={"ids": ["x" * 20] * 100}
    )
    path = folder(tmp_path / "out", {"steering": MAKERS["steering"]()}, record)
    found = page(path)
    assert (
        f"{MOST_ROWS} of {len(MAKERS['steering']())} rows; all are in tables/steering.csv"
        in found.text
    )
    assert "whole in run.json" in found.text
    assert len(found.text) < 12_000


def test_the_same_folder_gives_the_same_page(whole, read):
    first = (whole / "report.html").read_bytes()
    assert write_report(whole).read_bytes() == first


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"run\.json"):
        write_report(tmp_path)
    path = folder(tmp_path / "out", {"probes": TABLES["probes"]})
    (path / "tables" / "probes.csv").write_text("run,value\nr1,0.5\n")
    with pytest.raises(ArtefactError, match=r"probes\.csv is not a table"):
        write_report(path)
    assert not (path / "report.html").exists()


def test_a_number_stands_with_its_interval_or_the_range_of_its_draws():
    row = {"value": 0.5, "ci_low": 0.25, "ci_high": 0.75}
    assert told_number(row) == "0.500 [0.250, 0.750]"
    assert told_number(row | {"ci_low": np.nan}) == "0.500 (no interval)"
    drawn = row | {"draw_low": 0.25, "draw_high": 0.75}
    assert told_number(drawn) == "0.500 (draws 0.250 to 0.750)"


def test_numbers_are_printed_one_way():
    assert number(0.98765) == "0.988"
    assert number(1234.5) == "1234"
    assert number(float("nan")) == "not measured"
    assert number(float("-inf")) == "minus infinite"
    assert interval(0.5, float("nan"), float("nan")) == "0.500 (no interval)"
    assert p_value(0.0002) == "p < 0.001"
    assert visible("a\nb\u2066c") == "a b⟨U+2066⟩c"
