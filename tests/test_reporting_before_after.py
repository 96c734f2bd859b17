"""Steered texts that are shown: whose they are, that nothing is picked, and where they stand."""

import pandas as pd

from interp.cli.side_by_side import show_texts
from interp.reporting.before_after import MOST_SHOWN, before_and_after
from interp.results import read_table, table, write_table
from support.report_pages import folder, page
from support.reporting_tables import RECORD, all_tables


def texts(emotions=("joy", "anger"), items=5, judges=("oracle", "lexicon")) -> pd.DataFrame:
    """Two halves, four arms; every text says where it belongs."""
    rows = [
        RECORD.row(
            value=0.0, n=1, metric="reached", method="steering", half=half, control=control,
            emotion=emotion, scale=scale, item=f"{half}-{item}", prompt=f"{half} prompt {item}",
            text=f"{half} {control or 'own'} {emotion} {item}", judge=judge,
            verdict="" if judge == "lexicon" else f"{control or 'own'} {item}",
        )
        for half in ("choose", "report")
        for control, scale in (("unsteered", 0.0), ("", 2.0), ("random", 2.0))
        for emotion in emotions
        for item in range(items)
        for judge in judges
    ]  # fmt: skip
    return table(rows)


def test_emotions_take_turns_and_prompts_come_in_order():
    found = before_and_after(texts())
    assert [(one.emotion, one.prompt) for one in found] == [
        (emotion, f"report prompt {item}")
        for emotion, item in zip(("anger", "joy") * 3, (0, 1, 2, 3, 4, 0), strict=True)
    ]
    first = found[0]
    assert (first.before, first.after) == ("report unsteered anger 0", "report own anger 0")
    assert first.verdicts == {"oracle": ("unsteered 0", "own 0"), "lexicon": ("none", "none")}
    assert {one.scale for one in found} == {2.0}
    assert len(before_and_after(texts(("joy",), items=2))) == 2  # none comes twice


def test_a_long_prompt_keeps_its_end_and_a_long_text_its_beginning():
    long = texts(("joy",), items=1)
    long["prompt"], long["text"] = "a" * MOST_SHOWN + "END", "START" + "b" * MOST_SHOWN
    (one,) = before_and_after(long)
    assert one.prompt.endswith("END")
    assert one.after.startswith("START")
    assert {len(one.prompt), len(one.after)} == {MOST_SHOWN + 1}


def test_an_unsteered_text_may_be_filed_under_all_emotions():
    shared = texts()
    shared.loc[shared["control"] == "unsteered", "emotion"] = "all"
    shared = shared.drop_duplicates(["half", "control", "emotion", "item", "judge"])
    assert before_and_after(shared)[0].before == "report unsteered joy 0"


def test_the_page_shows_them_as_text_and_a_run_without_has_no_such_part(tmp_path):
    tables = all_tables()
    assert "What was written" not in page(folder(tmp_path / "without", tables)).text
    told = texts()
    told["text"] = told["text"].str.replace("own anger", "<b>own</b>\u202e anger")
    shown = page(folder(tmp_path / "with", {**tables, "steered_texts": told}))
    assert "What was written 6 of the prompts" in shown.text
    assert "<b>own</b>⟨U+202E⟩ anger 0" in shown.text or "<b>own</b><U+202E> anger 0" in shown.text
    assert "oracle: own 0; lexicon: none" in shown.text


def test_the_terminal_prints_them_and_drives_nothing(capsys):
    told = texts()
    told["text"] = told["text"].str.replace("own anger", "own\x1b[2J\nanger")
    show_texts([one._asdict() for one in before_and_after(told)])
    printed = capsys.readouterr().out
    assert printed.count("towards anger, at strength 2") == 3
    assert "  steered    report own<U+001B>[2J anger 0 (oracle: own 0; lexicon: none)" in printed


def test_texts_that_look_like_formulas_come_back_from_their_file(tmp_path):
    told = texts()
    told["text"] = "=1+1"
    write_table(told, tmp_path / "steered_texts.csv")
    (one, *_) = before_and_after(read_table(tmp_path / "steered_texts.csv"))
    assert one.after == "'=1+1"
