"""What the battery alone forbids is told before a model is loaded, with what can still be asked."""

import json
import warnings
from pathlib import Path

import pytest

import stimuli
from interp import study
from interp.errors import StatisticsError
from interp.evaluation.readouts import readout_for, without_words
from interp.records import read_record
from interp.results import read_table
from interp.study.conditions import conditions, unreadable
from interp.study.folder import Study
from stimuli import Battery, Stimulus
from support import matched_pairs
from support.commands import outcome


def single(counts: dict[str, int]) -> Battery:
    """Texts without twins, so many per label."""
    items = [
        Stimulus(
            f"{label}{n}",
            f"Text {n} of {label}.",
            label,
            "neutral" if label == "neutral" else "keyword_free",
        )
        for label, count in counts.items()
        for n in range(count)
    ]
    return Battery("single", tuple(items))


def paired(counts: dict[str, int]) -> Battery:
    """Twins, so many per emotion."""
    items = [
        Stimulus(
            f"{label}{n}{arm}",
            f"Text {n} of {label}, {arm}.",
            label if arm == "keyword_free" else arm,
            arm,
            f"{label}{n}",
        )
        for label, count in counts.items()
        for n in range(count)
        for arm in ("keyword_free", "neutral")
    ]
    return Battery("paired", tuple(items))


@pytest.mark.parametrize(
    ("battery", "closed", "part"),
    [
        (paired({"joy": 9, "fear": 9}), set(), "there is keyword_free alone"),
        (
            single({"joy": 9, "fear": 9, "neutral": 9}),
            {"reception", "directions", "readout"},
            "no text has a neutral twin",
        ),
        (
            single({"joy": 9, "neutral": 9}),
            {"reception", "directions", "readout", "categorisation"},
            "only 'joy' present",
        ),
        (
            single({"joy": 9, "fear": 4}),
            {"reception", "directions", "readout", "categorisation"},
            "too few: 'fear' 4",
        ),
        (
            single({"neutral": 30}),
            {"reception", "directions", "readout", "categorisation"},
            "only nothing present",
        ),
        (paired({"joy": 9}), {"categorisation"}, "only 'joy' present; need >= 2 classes"),
        (
            paired({"joy": 3, "fear": 2}),
            {"reception", "directions", "readout", "categorisation"},
            "fewer than 4 scenarios with twins",
        ),
        (
            paired({"joy": 4}),
            {"reception", "categorisation"},
            "5 folds need 5 scenarios, there are 4",
        ),
        (
            paired({"joy": 9, "fear": 4}),
            {"categorisation"},
            "5 scenarios of every emotion ('fear' 4): the largest valid number is 4",
        ),
        (paired({"joy": 9, "fear": 2}), {"categorisation"}, "too few: 'fear' 2"),
    ],
)
def test_what_is_closed_and_why(battery: Battery, closed: set[str], part: str) -> None:
    found = conditions(battery, folds=5, model="any")
    assert set(found.closed) == closed | {"transfer", "geometry"}  # one arm, few emotions
    assert part in " ".join(found.closed.values())


def test_transfer_is_open_where_two_arms_have_enough_scenarios() -> None:
    planted = stimuli.load("planted")
    assert "transfer" not in conditions(planted, folds=5, model="any").closed
    few = Battery(
        "few", tuple(one for one in planted if one.arm != "keyword_rich" or "-00-" in one.id)
    )
    told = conditions(few, folds=5, model="any").closed["transfer"]
    assert "keyword_rich has fewer than 5 scenarios of 'anger' 1" in told


def test_single_texts_are_asked_where_twins_are_too_few() -> None:
    few, many = paired({"joy": 3}), single({"fear": 9, "anger": 9})
    found = conditions(Battery("both", (*few.items, *many.items)), folds=5, model="any")
    assert set(found.closed) == {"reception", "directions", "readout", "transfer", "geometry"}
    assert not found.twins
    assert "fewer than 4 scenarios with twins ('joy' 3)" in found.closed["reception"]


def test_words_that_are_known_without_a_model() -> None:
    assert unreadable("any", ("joy", "anger")) == {}
    assert unreadable("planted", ("joy", "saudade")) == {"saudade": "planted has no words for it."}
    assert unreadable("any", ("Joy", "joy")) == {
        "Joy": "its words are all words of other emotions, too."
    }
    found = conditions(paired({"joy": 9, "saudade": 9}), folds=5, model="storyworld")
    assert "readout" not in found.closed  # the others can be asked
    assert found.doubts == ("'saudade' is not asked by words: storyworld has no words for it.",)
    found = conditions(paired({"envy": 9, "saudade": 9}), folds=5, model="storyworld")
    assert found.closed["readout"] == "storyworld has no words for it."
    assert list(found.forbidden(study.STAGE_FUNCTIONS, asked=False)) == [
        "transfer",
        "geometry",
        "patching",
        "attribution",
        "ablation",
        "circuit",
        "steering",
    ]
    found = conditions(paired({"joy": 9, "saudade": 9}), folds=5, model="any")
    assert "readout" not in found.closed
    assert found.doubts == ("the readout has no words for 'saudade': asked for by name alone.",)
    assert without_words("any", ("joy", "saudade")) == ["saudade"]
    assert readout_for("any", ("joy", "saudade")).words["saudade"] == ["saudade"]


@pytest.fixture
def no_model(monkeypatch) -> None:
    """Nothing may load a model, not even its outline."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("interp.study.folder.load", fail)
    monkeypatch.setattr("interp.study.dry_run.outline", fail)


def write(path: Path, battery: Battery) -> Path:
    rows = [
        {"id": i.id, "text": i.text, "emotion": i.emotion, **({"pair": i.pair} if i.pair else {})}
        for i in battery
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("command", ["run", "probe", "directions", "patch", "ablate", "steering"])
def test_a_battery_that_answers_nothing_ends_before_the_model(tmp_path, no_model, command) -> None:
    path = write(tmp_path / "s.jsonl", single({"joy": 9, "neutral": 9}))
    code, told = outcome(
        command, "--model", "planted", "--stimuli", path, "--out", tmp_path / "run"
    )
    assert code == StatisticsError.exit_code
    assert "Nothing else can be asked." in told
    assert not (tmp_path / "run").exists()


def test_what_still_can_be_asked_is_named(tmp_path, no_model) -> None:
    path = write(tmp_path / "s.jsonl", single({"joy": 9, "fear": 9, "neutral": 9}))
    for command in ("directions", "patch", "steering"):
        code, told = outcome(
            command, "--model", "planted", "--stimuli", path, "--out", tmp_path / "run"
        )
        assert (code, "What can be asked: probes." in told) == (StatisticsError.exit_code, True), (
            told
        )
    path = write(tmp_path / "s.jsonl", paired({"joy": 4}))
    code, told = outcome(
        "probe", "--model", "planted", "--stimuli", path, "--out", tmp_path / "run"
    )
    assert (code, "What can be asked: directions, cosines" in told) == (
        StatisticsError.exit_code,
        True,
    ), told


def test_a_dry_run_of_nothing_is_refused_too(tmp_path, no_model) -> None:
    path = write(tmp_path / "s.jsonl", single({"neutral": 9}))
    code, _ = outcome(
        "run", "--model", "planted", "--stimuli", path, "--out", tmp_path / "run", "--dry-run"
    )
    assert code == StatisticsError.exit_code


@pytest.mark.slow
def test_categorisation_needs_no_twins(tiny_folder, tmp_path) -> None:
    """Headerless rows of text, GoEmotions' number, id, as people have them; one label is too
    rare.
    """
    rows = [*matched_pairs.rows(40), {"text": "The cat slept.", "emotion": "pride"}]
    numbers = {"joy": 17, "sadness": 25, "anger": 2, "fear": 14, "neutral": 27, "pride": 21}
    path = tmp_path / "no_twins.tsv"
    path.write_text(
        "".join(f"{row['text']}\t{numbers[row['emotion']]}\te{n}\n" for n, row in enumerate(rows))
    )
    settings = study.Settings(
        model=str(tiny_folder("gpt2")),
        stimuli=str(path),
        out=tmp_path / "run",
        sites=("resid_post@1",),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        summary = study.run(settings)
    told = [str(one.message) for one in caught if one.category is UserWarning]
    left_out = (
        "transfer, persistence, directions, cosines, geometry, contributions, patching, ablation, "
        "steering, attribution, circuit"
    )
    assert any(
        set(line.split(" were")[0].split(", ")) == set(left_out.split(", ")) for line in told
    )
    assert any(
        line.startswith("probes: reception was not asked: no text has a neutral twin")
        for line in told
    )
    assert any("fewer than 5 scenarios: 'pride'" in line for line in told)
    assert set(told) <= set(summary["warnings"])
    probes = read_table(tmp_path / "run" / "tables" / "probes.csv")
    assert set(probes["task"]) == {"categorisation"}
    scores = probes[(probes["metric"] == "auroc") & (probes["control"] == "")]
    assert scores["n"].tolist() == [40] * len(scores)
    assert "bag_of_words" in set(probes["control"])
    assert [finding["stage"] for finding in summary["findings"]] == ["probes"]
    assert "neutral twin" in Path(summary["report"]).read_text(encoding="utf-8")
    assert read_record(tmp_path / "run" / "run.json").warnings == tuple(summary["warnings"])


def test_what_is_left_out_is_told_on_stderr_before_the_model(tmp_path, no_model, capsys) -> None:
    path = write(tmp_path / "s.jsonl", paired({"joy": 9, "saudade": 2}))
    with pytest.raises(AssertionError, match="a model was loaded"):
        study.run(
            study.Settings(model="gone", stimuli=str(path), out=tmp_path / "run"), stages=["probes"]
        )
    told = capsys.readouterr().err
    assert "interp: categorisation will not be asked: only 'joy' present" in told
    path = write(tmp_path / "s.jsonl", paired({"joy": 9, "saudade": 9}))
    with pytest.raises(AssertionError, match="a model was loaded"):
        study.run(
            study.Settings(model="gone", stimuli=str(path), out=tmp_path / "two"),
            stages=["patching"],
        )
    assert "interp: the readout has no words for 'saudade'" in capsys.readouterr().err


def test_columns_are_named_on_the_command_line(tmp_path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("Satz,Klasse\nEin Tag.,Freude\n")
    named = ("stimuli", "show", path, "--json", "--columns")
    code, told = outcome(*named, "text=Satz, emotion=Klasse")
    assert (code, json.loads(told)[0]["text"]) == (0, "Ein Tag.")
    assert outcome(*named, "text=Satz,emotion=Klass")[0] == 3
    for wrong in ("text", "text=", "text=Satz,text=Klasse", "txt=Satz"):
        assert outcome(*named, wrong)[0] == 2
    columns = {"text": "Satz", "emotion": "Klasse"}
    settings = study.Settings.of(model="m", stimuli=str(path), out=tmp_path, columns=columns)
    assert settings.read_battery().items[0].emotion == "Freude"
    assert "columns" not in settings.identity


def test_a_difference_in_form_is_a_caution_of_the_run(tmp_path) -> None:
    rows = [
        {**row, "text": row["text"] + "\n" * (row["emotion"] == "neutral")}
        for row in matched_pairs.rows(40)
    ]
    path = matched_pairs.write(tmp_path / "s.jsonl", rows)
    opened = Study(study.Settings(model="gone", stimuli=str(path), out=tmp_path / "run"))
    assert any("a line break at the end" in warning for warning in opened.record.warnings)
