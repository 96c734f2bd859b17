"""A line in a table is enough: a toy entry of each is chosen on the command line, and a study runs
it.
"""

import json
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.naive_bayes import GaussianNB

import interp
from interp.analysis.baselines import BASELINES
from interp.analysis.design import Design
from interp.analysis.methods import DIRECTIONS
from interp.analysis.probes import PROBES, Probe
from interp.analysis.site_probes import prepare, probe_sites
from interp.causal.estimates import ESTIMATES, slopes_at_target
from interp.causal.stand_ins import STAND_INS, zero_values
from interp.errors import UsageError
from interp.evaluation.judges import JUDGES, JudgeKind
from interp.records import read_record
from interp.results import read_table
from support import matched_pairs
from support.commands import outcome

pytestmark = pytest.mark.slow
EMOTIONS = ("fear", "joy")
ASKED = ("--model", "planted", "--stimuli", "planted", "--emotions", ",".join(EMOTIONS))
ASKED = (*ASKED, "--sites", "resid_post,z,post")
TOYS = {"probe": "bayes", "direction": "median", "ablate_with": "half", "judge": "gloomy"}
TOYS |= {"attribute_with": "halved"}
CHOSEN = [part for name, toy in TOYS.items() for part in (f"--{name.replace('_', '-')}", toy)]


def median(affective, neutral):
    """A direction: the median of the paired differences."""
    return np.median(affective - neutral, axis=0)


def half(model, rows, sites):
    """A stand-in: one half, everywhere."""
    return {
        site: torch.full_like(values, 0.5)
        for site, values in zero_values(model, rows, sites).items()
    }


def halved(model, cases, asked):
    """An estimate: half of the gradient."""
    found = slopes_at_target(model, cases, asked)
    sites = {site: gradient / 2 for site, gradient in found.gradient.sites.items()}
    return found._replace(gradient=found.gradient._replace(sites=sites))


def gloomy(model, readout, behind):
    """A judge that finds fear in all texts."""

    def gloomy_judge(continuations):
        return ["fear"] * len(continuations)

    return gloomy_judge


def letters(texts, lexicons):
    """A text baseline: how many letters, and how many times the letter e."""
    counts = np.array([[len(text), text.count("e")] for text in texts], dtype=float)
    return lambda fold: counts


def words(figure: Figure) -> set[str]:
    return {each.get_text() for each in figure.findobj(mpl.text.Text)}


@pytest.fixture(scope="module")
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROBES, "bayes", Probe(lambda seed: GaussianNB()))
        patch.setitem(DIRECTIONS, "median", median)
        patch.setitem(STAND_INS, "half", half)
        patch.setitem(ESTIMATES, "halved", halved)
        patch.setitem(JUDGES, "gloomy", JudgeKind(gloomy))
        patch.setitem(BASELINES, "letters", letters)
        yield


@pytest.fixture(scope="module")
def ran(toys, tmp_path_factory):
    out = tmp_path_factory.mktemp("toys") / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are recorded in run.json
        code, told = outcome("run", *ASKED, "--out", out, "--preset", "quick", *CHOSEN, "--json")
    assert code == 0, told
    assert not matched_pairs.not_run(json.loads(told)["warnings"])
    return out


@pytest.fixture(scope="module")
def tables(ran):
    return {file.stem: read_table(file) for file in (ran / "tables").glob("*.csv")}


def test_a_probe_of_the_table_reads_every_site_and_is_drawn(tables):
    probes = tables["probes"]
    at_sites = probes[probes.layer.notna()]
    assert set(at_sites.method) == {"bayes"}
    scores = at_sites[(at_sites.metric == "auroc") & (at_sites.control == "")]
    last = scores[
        (scores.task == "reception") & (scores.site == "resid_post") & (scores.layer == 3)
    ]
    assert last.value.min() > 0.95  # what is planted is read
    nested = probes[probes.metric == "nested_auroc"]
    # a probe of one setting chooses, too
    assert set(nested.task) == {"reception", "categorisation"}
    drawn = interp.draw("probe_curves", probes)
    heights = {value for one in drawn.axes for line in one.lines for value in line.get_ydata()}
    assert last.value.iloc[0] in heights


def test_a_text_baseline_of_the_table_stands_beside_the_probe(tables):
    probes = tables["probes"]
    mine = probes[(probes.control == "letters") & (probes.metric == "auroc")]
    assert set(mine.task) == {"reception", "categorisation"}
    assert mine.value.between(0, 1).all()
    above = probes[(probes.metric == "above_text") & (probes.target == "letters")]
    assert len(above) == 2
    assert "letters" in words(interp.draw("text_baselines", probes))


def test_a_direction_method_of_the_table_is_fitted_scored_and_saved(ran, tables):
    found = tables["directions"]
    of_method = found.groupby("metric").method.agg(set).to_dict()
    assert of_method.pop("norm") == {"paired"}  # the length of the mean paired difference
    assert set(of_method) >= {"separation_auroc", "d_prime", "split_half_cosine", "nested_auroc"}
    assert all(methods == {"median"} for methods in of_method.values())
    cosines = tables["cosines"].groupby("metric").method.agg(set).to_dict()
    assert cosines == {"cosine": {"median"}, "cosine_corrected": {"paired"}}
    saved = [interp.Direction.load(file) for file in (ran / "directions").glob("*.safetensors")]
    assert {one.method for one in saved} == {"median"}
    settings = interp.study.Settings.of(
        model="planted", stimuli="planted", out=ran, emotions=EMOTIONS, preset="quick"
    )
    battery = settings.captured(settings.read_battery())
    store = interp.record(interp.load("planted"), battery)
    pairs = battery.pairs().of("fear")
    expected = median(*store.read("blocks.3.hook_resid_post").twins(pairs))
    (mine,) = [one for one in saved if one.labels[0] == "fear" and one.site.layer == 3]
    np.testing.assert_allclose(mine.vector, expected / np.linalg.norm(expected), atol=1e-5)
    heights = [
        line.get_ydata() for line in interp.draw("direction_separation", found).axes[0].lines
    ]
    apart = found[(found.metric == "separation_auroc") & (found.emotion == "fear")]
    assert any(np.array_equal(one, apart.value) for one in heights)


def test_a_stand_in_of_the_table_takes_the_place_of_heads_and_neurons(tables):
    ablation = tables["ablation"]
    assert set(ablation["mode"]) == {"half"}
    fall = ablation[(ablation.metric == "projection_drop") & (ablation.emotion == ablation.target)]
    assert set(fall.component) == {"head", "neuron"}
    assert fall.value.abs().min() > 0
    assert interp.draw("ablation_projection", ablation).axes


def test_a_gradient_of_the_table_estimates_the_patches(tables):
    found = tables["attribution"]
    assert set(found[found.metric == "estimated_effect"].method) == {"halved"}
    errors = found[(found.metric == "relative_error") & (found.component == "head")]
    np.testing.assert_allclose(errors.value, 0.5, atol=0.02)  # these effects are straight lines


def test_a_judge_of_the_table_judges_the_steered_texts(tables):
    success = tables["steering"].query("metric == 'success' and half == 'report'")
    assert set(success.judge) == {"gloomy"}
    means = success.groupby("emotion").value.mean()
    assert means[["fear", "joy"]].tolist() == [1.0, 0.0]
    titles = words(interp.draw("steering_success", tables["steering"]))
    assert any("fear" in title for title in titles)


def test_several_judges_are_asked_at_once_and_agree_or_not(toys, tmp_path):
    """Said by commas or again; the first one chooses, and the others only judge."""
    asked = ("--model", "planted", "--stimuli", "planted", "--emotions", "fear,joy")
    out = tmp_path / "run"
    more = ("--judge", "oracle,masked:lexicon", "--judge", "gloomy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        code, told = outcome("steering", *asked, "--out", out, "--preset", "quick", *more, "--json")
    assert code == 0, told
    rows = read_table(out / "tables" / "steering.csv").query("half == 'report'")
    own = rows.query("metric == 'success' and control == '' and emotion != 'all'")
    means = own.groupby("judge").value.mean().to_dict()
    assert means == {"oracle": 1.0, "masked:lexicon": 0.0, "gloomy": 0.5}
    agreed = rows[rows.metric == "kappa"].set_index(["judge", "target"]).value
    assert len(agreed) == 3
    assert agreed["oracle", "gloomy"] == 0
    assert read_record(out / "run.json").config["judge"] == "oracle,masked:lexicon,gloomy"
    assert "agreement with gloomy (kappa)" in told


def test_the_record_knows_the_choices_and_refuses_others(ran):
    config = read_record(ran / "run.json").config
    assert {name: config[name] for name in TOYS} == TOYS
    code, told = outcome("directions", *ASKED, "--out", ran, "--preset", "quick")
    assert code == 4
    for name, toy in TOYS.items():
        usual = interp.study.Settings.usual()[name]
        assert f"{name}: {toy!r} there, {usual!r} now" in told


@pytest.mark.parametrize(
    "option", ["--probe", "--direction", "--ablate-with", "--attribute-with", "--judge"]
)
def test_the_help_shows_what_the_table_has_and_an_unknown_name_is_refused(option, toys, tmp_path):
    toy = TOYS[option[2:].replace("-", "_")]
    code, told = outcome("run", *ASKED, "--out", tmp_path / "run", option, "nothing")
    assert code == 2
    assert f"Invalid value for '{option}': 'nothing' is not one of" in told
    assert repr(toy) in told
    assert not (tmp_path / "run").exists()
    assert f"|{toy}]" in "".join(outcome("run", "--help")[1].split())
    name = option[2:].replace("-", "_")
    with pytest.raises(UsageError, match=f"{name} is 'nothing': expected one of .*{toy}"):
        interp.run("planted", "planted", tmp_path / "run", **{name: "nothing"})


def test_an_oracle_is_refused_where_nobody_knows_the_language_before_anything_is_made(tmp_path):
    with pytest.raises(
        UsageError, match=r"gpt2 has no oracle.*Judges for any model: forced_choice"
    ):
        interp.run("gpt2", "planted", tmp_path / "run", judge="oracle")
    assert not (tmp_path / "run").exists()


def test_a_probe_of_one_setting_has_a_nested_score():
    """Its folds choose their place although they have no setting to choose."""
    random = np.random.default_rng(0)
    y, groups = np.tile(["a", "b"], 40), np.repeat(np.arange(40), 2)
    x = random.normal(size=(80, 3)) + 2.0 * (y == "a")[:, None]
    places = [({"layer": 0}, random.normal(size=(80, 3))), ({"layer": 1}, x)]
    task = prepare("reception", Design.infer(y, groups), n_perm=20)
    swept = probe_sites(lambda: places, task, probe="lda", control=False)
    (row,) = [one for one in swept.rows if one["metric"] == "nested_auroc"]
    assert (row["layer"], row["chosen_by"]) == (1, "5 of 5 folds")
    assert row["value"] > 0.8
