"""What the report says of persistence: a sentence at an offset that was fixed beforehand, and a
half-life no surer than its bounds.
"""

import numpy as np
import pandas as pd
import pytest

from interp.reporting.half_life import half_life_told
from interp.reporting.sections.persistence import cautions, findings
from support.reporting_tables import persistence


def changed(table: pd.DataFrame, where: str, **values: float) -> pd.DataFrame:
    found = table.copy()
    for name, value in values.items():
        found.loc[found.eval(where), name] = value
    return found


def test_the_sentence_is_of_the_offset_that_was_fixed():
    reception, categorisation = sorted(findings(persistence()), key=lambda one: -len(one.what))
    told = {one.about: one for one in (reception, categorisation)}
    one = told["reception"]
    assert one.verdict == "found"
    assert one.sentence.startswith("16 tokens into a neutral continuation, what the probe read")
    assert (one.estimate, one.p) == (pytest.approx(0.8), 0.005)
    beside = dict(one.beside)
    assert beside["at the text's last token"].startswith("0.950")
    assert beside["32 tokens on"].startswith("0.770")
    assert beside["half-life of the margin"] == "11.5 tokens (9.0 to 14.0)"
    assert "half-life of the margin" not in dict(told["categorisation"].beside)
    assert beside["a probe fitted there, and not at the text's end"].startswith("0.960")
    assert [key for key in beside if key.startswith("words of the text alone, the same")]


def test_where_16_was_not_read_the_largest_below_it_is_told():
    table = persistence()
    short = table[~table["offset"].isin([16, 32])]
    assert {one.told["k"] for one in findings(short)} == {"8"}
    assert "32 tokens on" not in dict(findings(short)[0].beside)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"p": 0.2}, "not found"),
        ({"ci_low": 0.45}, "not found"),
        ({"ci_low": np.nan}, "cannot be said"),
    ],
)
def test_what_is_not_sure_is_not_claimed(change, verdict):
    where = "offset == 16 and metric == 'auroc' and control == '' and task == 'reception'"
    told = {one.about: one for one in findings(changed(persistence(), where, **change))}
    assert told["reception"].verdict == verdict
    assert told["categorisation"].verdict == "found"


def test_a_state_that_the_words_tell_as_well_is_said_to_be_so():
    where = "offset == 16 and metric == 'above_text'"
    one = findings(changed(persistence(), where, ci_low=-0.01))[0]
    assert one.verdict == "not told apart from the words"
    assert "not told apart from what the words of the text alone tell" in one.sentence


@pytest.mark.parametrize(
    ("half", "kept", "told"),
    [
        ({"half_high": np.nan}, {}, "11.5 tokens (9.0 and no upper bound within 32)"),
        ({"value": np.nan, "half_high": np.nan}, {}, "more than 32 tokens, at least 9.0"),
        ({"value": np.nan, "half_low": np.nan}, {"ci_low": 0.6}, "surely more than 32 tokens"),
        ({"half_low": np.nan}, {"ci_low": np.nan}, "cannot be said: there is no interval"),
    ],
)
def test_a_half_life_is_no_surer_than_its_bounds(half, kept, told):
    table = persistence().query("task == 'reception'")
    table = changed(table, "metric == 'half_life'", **half)
    table = changed(table, "metric == 'retained'", **kept)
    rows = (table[table["metric"] == one] for one in ("half_life", "retained"))
    assert half_life_told(*rows, "tokens") == told


def test_a_state_that_is_not_there_is_a_caution():
    assert not list(cautions(persistence()))
    where = "offset == 0 and metric == 'auroc' and control == '' and task == 'reception'"
    (one,) = cautions(changed(persistence(), where, ci_low=0.4))
    assert (one.stage, one.about) == ("persistence", "reception")
    assert "nothing that could stay" in one.text
