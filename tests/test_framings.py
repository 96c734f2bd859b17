"""What a framing moves is found without the noise of its wordings, the dose that matters is told
from one that does not, and what a model cannot do says nothing of its framing.
"""

from collections import Counter

import numpy as np
import pytest
import torch

import stimuli
from interp.analysis.doses import dose_rows, every_other, level_rows
from interp.analysis.framings import (
    CALM,
    NEUTRAL_FRAMING,
    behaviour_rows,
    projection_rows,
    scan_rows,
    shift_rows,
    space_rows,
)
from interp.errors import DataError, UsageError
from interp.evaluation.framed_tasks import (
    FramedTask,
    answer_margins,
    easy_tasks,
    framings,
    stress_statements,
)
from interp.evaluation.framed_tokens import PLACES_ALONG, read_tokens
from interp.reporting.framing_claims import told_of_framings
from interp.reporting.framings import (
    framing_axes,
    framing_cosines,
    framing_norms,
    framing_scan,
    framing_scores,
    stress_doses,
)
from interp.results import read_table, table
from interp.sites import Site
from interp.study.framing_trial import framing_rows, stress_rows, token_rows
from support import crossed_texts
from support.commands import outcome
from support.given_directions import given

pytestmark = pytest.mark.filterwarnings("ignore:the framings have no principal axes")

KINDS = (CALM, "pressure", "threat", "positive", "negative", NEUTRAL_FRAMING)
WIDTH, WORDINGS, TASKS = 40, 5, 12
NAMED = {"pressure": 3.0, "threat": 3.0}


def means(shifts, *, noise: float = 1.0, seed: int = 0):
    """Means by wording: pressure and threat lie along axis 0, by their shifts."""
    random = np.random.default_rng(seed)
    found = {name: noise * random.normal(size=(WORDINGS, WIDTH)) for name in KINDS}
    for name, shift in shifts.items():
        found[name][:, 0] += shift
    return found


def value(found, metric, **columns):
    rows = found[found.metric == metric]
    for name, wanted in columns.items():
        rows = rows[rows[name] == wanted]
    (row,) = rows.itertuples()
    return row


def test_a_shift_has_its_square_without_the_noise_of_the_wordings():
    drawn = [
        value(table(shift_rows(means(NAMED, seed=seed), stream_norm=1.0)), "shift_square",
              framing="pressure").value
        for seed in range(30)
    ]  # fmt: skip
    assert np.mean(drawn) == pytest.approx(9, abs=1.2)
    nothing = [
        value(table(shift_rows(means({}, seed=seed), stream_norm=1.0)), "shift_square_above",
              framing="threat")
        for seed in range(30)
    ]  # fmt: skip
    assert np.mean([one.value for one in nothing]) == pytest.approx(0, abs=1)
    assert np.mean([one.ci_low > 0 for one in nothing]) <= 0.1


def test_cosines_and_axes_are_those_of_what_wordings_share():
    found = table(space_rows(means({"pressure": 9, "threat": 9, "negative": -9}), stream_norm=2.0))
    assert value(found, "cosine", framing="pressure", target="threat").value > 0.9
    assert value(found, "cosine", framing="pressure", target="negative").value < -0.9
    assert value(found, "explained", target="axis 1").value == pytest.approx(1, abs=0.1)
    places = [
        value(found, "axis", framing=one, target="axis 1").value
        for one in ("pressure", CALM, "negative")
    ]
    assert np.abs(np.diff(places)) == pytest.approx([4.5, 4.5], abs=0.9)


def test_calm_that_all_share_makes_no_cosine():
    """Shifts along two axes; calm's own noise stands in both."""
    drawn = []
    for seed in range(20):
        made = means({"pressure": 6}, seed=seed)
        made["threat"][:, 1] += 6
        found = table(space_rows(made, stream_norm=1.0))
        drawn.append(value(found, "cosine", framing="pressure", target="threat").value)
    assert np.nanmean(drawn) == pytest.approx(0, abs=0.1)


def test_projections_are_less_calm_and_less_what_says_nothing():
    step = np.eye(WIDTH)[0] / 2
    shifts = {"pressure": 4.0, NEUTRAL_FRAMING: 1.0}
    found = table(projection_rows(means(shifts, noise=0.1), {"fear": step}))
    assert value(found, "shift", framing="pressure").value == pytest.approx(2, abs=0.1)
    assert value(found, "shift_above", framing="pressure").value == pytest.approx(1.5, abs=0.1)
    assert value(found, "shift", framing="threat").value == pytest.approx(0, abs=0.1)


def margins_of(*, calm: float, pressure: float, seed: int = 0):
    random = np.random.default_rng(seed)
    found = {one: calm + 0.5 * random.normal(size=(WORDINGS, TASKS)) for one in KINDS}
    found["pressure"] += pressure
    return found


def test_behaviour_is_paired_by_wording():
    found = table(
        behaviour_rows(margins_of(calm=0.5, pressure=-1), np.repeat(np.arange(TASKS // 2), 2))
    )
    right = margins_of(calm=0.5, pressure=-1)["pressure"] > 0
    row = value(found, "accuracy", framing="pressure")
    assert row.value == pytest.approx(right.mean())
    assert value(found, "accuracy_above", framing="pressure").ci_high < -0.3
    more = value(found, "margin_above", framing="pressure")
    assert more.ci_low < -1 < more.ci_high
    other = value(found, "margin_above", framing="threat")
    assert other.ci_low < 0 < other.ci_high


def test_whether_the_tasks_can_be_done_is_asked_over_tasks():
    """Half of the tasks are always done and half never: sure of wordings, unsure of tasks."""
    margins = np.tile(np.repeat([1.0, -1.0], TASKS // 2), (WORDINGS, 1))
    margins[0, :3] *= -1
    found = table(behaviour_rows(dict.fromkeys(KINDS, margins), np.repeat(range(TASKS // 2), 2)))
    calm = found[(found.metric == "accuracy") & (found.framing == CALM)]
    by_wording, by_task = (calm[calm.control == one].iloc[0] for one in ("", "by_task"))
    assert by_task.value == by_wording.value
    assert by_task.ci_high - by_task.ci_low > 1.5 * (by_wording.ci_high - by_wording.ci_low)


LEVELS = np.repeat(np.arange(1.0, 11.0), 4)


def stressed(curve, *, seed: int = 0):
    """Margins of a made model whose score follows the dose, and readings of which fear does."""
    random = np.random.default_rng(seed)
    margins = curve(LEVELS)[:, None] + 0.4 * random.normal(size=(len(LEVELS), TASKS))
    readings = {
        "fear": 0.2 * LEVELS + random.normal(size=len(LEVELS)),
        "joy": random.normal(size=len(LEVELS)),
    }
    return LEVELS, margins, readings


def both(curve):
    made = stressed(curve)
    return table([*level_rows(*made), *dose_rows(*made, draws=199)])


def tent(dose):
    return 1 - 0.3 * np.abs(dose - 5)


def test_doses_that_matter_are_told_from_those_that_do_not():
    found = both(tent)
    dose, margins, readings = stressed(tent)
    assert value(found, "inverted_u", target="margin").p < 0.01
    assert value(found, "inverted_u", target="margin").p_order == pytest.approx(1 / 200)
    fear, joy = (value(found, "slope", target=one) for one in ("fear", "joy"))
    assert fear.value == pytest.approx(np.polyfit(dose, readings["fear"], 1)[0])
    assert fear.ci_low < 0.2 < fear.ci_high
    assert fear.p < 0.01
    assert joy.p > 0.05
    level = value(found, "accuracy", dose=3)
    assert level.value == pytest.approx((margins[dose == 3] > 0).mean())
    rising = both(lambda dose: 0.1 * dose - 0.5)
    assert value(rising, "inverted_u", target="margin").p > 0.05
    assert value(rising, "slope", target="margin").p < 0.01


def test_every_other_statement_of_each_level_chooses():
    chosen = every_other(LEVELS)
    assert Counter(LEVELS[chosen].tolist()) == Counter(LEVELS[~chosen].tolist())


def whole(*, calm: float, curve=tent):
    """A table as the command makes it, of one layer."""
    moved = means(NAMED, noise=0.1)
    place = {"site": "resid_post", "layer": 1}
    space = [*shift_rows(moved, stream_norm=1.0), *space_rows(moved, stream_norm=1.0)]
    rows = [{**place, **row} for row in space]
    rows += behaviour_rows(margins_of(calm=calm, pressure=-2), np.repeat(np.arange(TASKS // 2), 2))
    made = stressed(curve)
    return table([*rows, *level_rows(*made), *dose_rows(*made, draws=99)])


def test_no_more_is_said_than_was_found():
    said = told_of_framings(whole(calm=1.0))
    assert said[0].startswith("Pressure moves the stream from calm, further than sentences that")
    assert said[1].startswith("Behind pressure fewer of the tasks are done right than behind calm")
    assert "a threat changes how many of the tasks are done right, beside calm, is not" in said[2]
    assert "margin rises with the dose of stress and falls beyond level" in said[-1]
    falling = told_of_framings(whole(calm=1.0, curve=lambda dose: -2 * dose))
    assert "does not rise with the dose of stress and then fall" in falling[-1]
    unable = told_of_framings(whole(calm=0.0))
    assert len(unable) == 2
    assert unable[1].startswith("The model does not surely do the tasks better than by chance")


def test_the_figures_show_the_table():
    found = whole(calm=1.0)
    assert len(framing_norms(found).axes[0].lines) == len(KINDS)
    places = framing_axes(found).axes[0].lines
    drawn = [float(line.get_xdata()[0]) for line in places]
    axis = found[(found.metric == "axis") & (found.target == "axis 1")]
    np.testing.assert_allclose(drawn, axis.value)
    cells = framing_cosines(found).axes[0].images[0].get_array()
    np.testing.assert_array_equal(np.diag(cells), 1)
    panel = framing_scores(found).axes[0]
    assert len(panel.get_yticks()) == len(KINDS)
    doses = stress_doses(found).axes
    assert doses[0].lines[0].get_xdata().tolist() == list(range(1, 11))
    assert doses[2].get_ylabel() == "natural lengths above level 1"
    later = stress_doses(found.assign(dose=found.dose + 2)).axes[2]
    assert later.get_ylabel() == "natural lengths above level 3"


TINY = [
    FramedTask("the dog was", "cold", "warm", 0),
    FramedTask("the cat was", "warm", "cold", 0),
    FramedTask("she went", "home", "down", 1),
    FramedTask("he went", "down", "home", 1),
]
SAID = {
    CALM: ["it was quiet . {task}", "we are calm . {task}", "it is night . {task}"],
    NEUTRAL_FRAMING: ["the box is here . {task}", "a book is new . {task}", "one . {task}"],
    "pressure": ["now ! {task}", "it is late ! {task}", "they wait ! {task}"],
}


def test_margins_are_those_of_hugging_face(tiny_model):
    llama = tiny_model("llama")
    texts = SAID[CALM]
    found = answer_margins(llama, texts, TINY)
    hf = llama.plain().eval()
    for at, text in enumerate(texts):
        for place, task in enumerate(TINY):
            (ids,) = llama.tokenize([text.replace("{task}", task.text)])
            with torch.no_grad():
                logs = hf(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            right, wrong = (
                int(llama.tokenizer(f"a {word}", add_special_tokens=False)["input_ids"][-1])
                for word in (task.right, task.wrong)
            )
            expected = float(logs[right] - logs[wrong])
            assert found[at, place] == pytest.approx(expected, abs=1e-4)
    lacking = pytest.warns(UserWarning, match="have no tokens of their own")
    with lacking, pytest.raises(UsageError, match="has no word 'zzz'"):
        answer_margins(llama, texts, [FramedTask("he was", "cold", "zzz", 0)])


def test_rows_of_a_model_are_those_of_its_stream(tiny_model):
    llama = tiny_model("llama")
    site = Site("resid_post", 1)
    vector = np.random.default_rng(0).normal(size=llama.dims.d_model)
    directions = {"fear": given(vector / np.linalg.norm(vector), site, 2.0)}
    found = table(framing_rows(llama, TINY, SAID, directions))
    assert set(found[found.metric == "shift_square"].layer) == set(range(llama.dims.n_layers))
    assert set(found[found.metric == "cosine"].layer) == {1}
    hf, states = llama.plain().eval(), {}
    for name in (CALM, "pressure"):
        rows = []
        for text in SAID[name]:
            for task in TINY:
                (ids,) = llama.tokenize([text.replace("{task}", task.text)])
                with torch.no_grad():
                    out = hf(torch.tensor([ids]), output_hidden_states=True)
                rows.append(out.hidden_states[2][0, -1].numpy())
        states[name] = np.mean(rows, axis=0)
    expected = float((states["pressure"] - states[CALM]) @ directions["fear"].vector) / 2
    row = value(found, "shift", framing="pressure", target="fear")
    assert row.value == pytest.approx(expected, abs=1e-4)
    doses = [(float(level), text) for level in range(1, 7) for text in SAID["pressure"]]
    stress = table(stress_rows(llama, TINY, doses, directions, draws=19, seed=0))
    assert value(stress, "reading", target="fear", dose=1.0).value == pytest.approx(0, abs=1e-5)


def test_tasks_share_their_answers_and_wordings_are_equally_many():
    tasks = easy_tasks(40)
    assert len(tasks) == 40
    for one, other in zip(tasks[::2], tasks[1::2], strict=True):
        assert (one.right, one.wrong, one.pair) == (other.wrong, other.right, other.pair)
    assert stimuli.prompts("tasks")["chance"] == 0.5
    assert [len(easy_tasks(n)) for n in (4, 7, 16)] == [4, 6, 16]
    known = framings()
    assert next(iter(known)) == CALM
    assert {len(texts) for texts in known.values()} == {5}
    assert {"positive", "negative", NEUTRAL_FRAMING, "threat"} <= set(known)
    assert all(text.count("{task}") == 1 for texts in known.values() for text in texts)
    assert Counter(level for level, _ in stress_statements()) == dict.fromkeys(
        map(float, range(1, 11)), 4
    )


def test_a_scan_is_the_mean_shift_of_stress_without_the_noise_of_wordings():
    drawn = [
        table(scan_rows(means({**NAMED, "positive": 20.0, NEUTRAL_FRAMING: 1.0}, seed=seed),
                        stream_norm=2.0))
        for seed in range(30)
    ]  # fmt: skip
    rows = [value(one, "scan_above") for one in drawn]
    assert np.mean([one.value for one in rows]) == pytest.approx((9 - 1) / 4, abs=0.3)
    assert np.mean([one.ci_low < 2 < one.ci_high for one in rows]) > 0.85
    stress = [value(one, "scan", control="").value for one in drawn]
    assert np.mean(stress) == pytest.approx(9 / 4, abs=0.3)
    nothing = [value(one, "scan", control=NEUTRAL_FRAMING).value for one in drawn]
    assert np.mean(nothing) == pytest.approx(1 / 4, abs=0.25)
    np.testing.assert_allclose([one.value for one in rows], np.subtract(stress, nothing))


def test_tokens_are_those_of_hugging_face(tiny_model):
    """The last two tokens of a task are the same behind all framings; along a framing the middles
    of six parts are read.
    """
    llama = tiny_model("llama")
    texts = [text for every in SAID.values() for text in every]
    sites = [Site("resid_post", layer) for layer in range(llama.dims.n_layers)]
    found = read_tokens(llama, texts, TINY, sites, most=8)
    assert found.means.shape[1] == PLACES_ALONG + 2  # "she went" has two tokens
    assert read_tokens(llama, texts, TINY, sites, most=1).means.shape[1] == PLACES_ALONG + 1
    hf = llama.plain().eval()
    for at in (0, 5):
        along, last = [], []
        for task in TINY:
            (ids,) = llama.tokenize([texts[at].replace("{task}", task.text)])
            first = len(ids) - len(
                llama.tokenizer(texts[at].replace("{task}", task.text), add_special_tokens=False)[
                    "input_ids"
                ]
            )
            with torch.no_grad():
                out = hf(torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0]
            n = len(ids) - first - len(task.text.split())
            places = [first + int((part + 0.5) / PLACES_ALONG * n) for part in range(PLACES_ALONG)]
            along.append(out[places].numpy())
            last.append(out[-2:].numpy())
        read = found.means[1][:, at]
        np.testing.assert_allclose(read[:PLACES_ALONG], np.mean(along, axis=0), atol=1e-4)
        np.testing.assert_allclose(read[PLACES_ALONG:], np.mean(last, axis=0), atol=1e-4)
        norms = np.mean([(one**2).sum(axis=-1) for one in last], axis=0)
        np.testing.assert_allclose(found.squares[1][PLACES_ALONG:, at], norms, rtol=1e-4)
    with pytest.raises(DataError, match="end in different tokens"):
        read_tokens(llama, ["now ! {task}", "{task} now !"], TINY, sites, most=2)
    with pytest.raises(DataError, match="no token before its task"):
        read_tokens(llama, ["{task}", "now ! {task}"], TINY, sites, most=2)


def test_the_scan_is_drawn_by_layer_and_token(tiny_model):
    llama = tiny_model("llama")
    found = table(token_rows(llama, TINY, SAID, most=2))
    figure = framing_scan(found)
    stress, _, above, _ = figure.axes
    assert [one.get_text() for one in stress.get_xticklabels()][-2:] == ["-1", "0"]
    cells = stress.images[0].get_array()
    assert cells.shape == (llama.dims.n_layers, PLACES_ALONG + 2)
    top = value(found, "scan", control="", offset=0.0, layer=llama.dims.n_layers - 1)
    assert cells[0, -1] == pytest.approx(top.value)
    direction = given(np.eye(llama.dims.d_model)[0], Site("resid_post", 1))
    shifts = table(framing_rows(llama, TINY, SAID, {"fear": direction}))
    last = value(shifts, "shift_square", framing="pressure", layer=llama.dims.n_layers - 1)
    assert top.value == pytest.approx(last.value, rel=1e-4)
    assert len(above.lines) == (found[found.metric == "scan_above"].ci_low > 0).sum()


def test_a_testbed_is_refused(tmp_path):
    code, told = outcome("framings", "--model", "planted", "--out", tmp_path / "out")
    assert (code, "its behaviour cannot be measured" in told) == (2, True)


def test_the_command_puts_framings_before_tasks(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    asked = []
    here = "interp.study.framing_trial"
    monkeypatch.setattr(f"{here}.easy_tasks", lambda n: asked.append(n) or TINY)
    more = dict.fromkeys(("threat", "positive", "negative"), SAID["pressure"])
    monkeypatch.setattr(f"{here}.framings", lambda: {**SAID, **more})
    doses = [(float(level), text) for level in range(1, 7) for text in SAID["pressure"]]
    monkeypatch.setattr(f"{here}.stress_statements", lambda: doses)
    out = tmp_path / "out"
    texts = ("--stimuli", crossed_texts.write(tmp_path / "crossed.jsonl"), "--layer", 1)
    given_ = ("--model", tiny_folder("llama"), *texts, "--emotions", "joy,fear", "--out", out)
    code, told = outcome("framings", *given_, "--n-tasks", 6, "--draws", 19, "--scan-tokens", 1)
    assert code == 0, told
    assert asked == [6]
    assert told.startswith(("Pressure moves", "That pressure moves"))
    found = read_table(out / "tables" / "framings.csv")
    assert set(found[found.metric == "reading"].target) == {"fear", "joy"}
    axes = int("axis" in set(found.metric))
    assert len(list((out / "figures").glob("*.svg"))) == 5 + axes
    assert set(found[found.metric == "scan"].offset.dropna()) == {0}
    few = ("--n-tasks", 6, "--draws", 19, "--scan-tokens", 0)
    code, told = outcome("framings", *given_, *few, "--out", tmp_path / "unscanned")
    assert code == 0, told
    assert "scan" not in set(read_table(tmp_path / "unscanned" / "tables" / "framings.csv").metric)
    code, told = outcome("framings", *given_)
    assert (code, "is there already" in told) == (4, True)


def test_framings_that_repeat_nothing_have_no_axes():
    same = {name: np.tile(np.eye(WORDINGS, WIDTH), 1) for name in KINDS}
    with pytest.warns(UserWarning, match="no principal axes"):
        found = table(space_rows(same, stream_norm=1.0))
    assert set(found.metric) == {"cosine"}
