"""`--dry-run --measure`: what is counted is what a run then does; no time is held to anything."""

import json
import math
import warnings
from collections import defaultdict

import pytest
from click.testing import CliRunner

from interp import study
from interp.capture.estimate import seconds_by_work
from interp.capture.recording import recorder
from interp.causal.patching import Patches, patch_pairs
from interp.causal.readout import Readout
from interp.cli import cli
from interp.models import LanguageModel, load
from interp.models.counted import Counted, PassShape
from interp.models.generation import Decoding
from interp.results import read_table
from interp.study import measure
from interp.study.measure import STAGE_UNITS, measure_stages
from interp.study.rehearsal import Rehearsal
from interp.study.runs import STAGE_FUNCTIONS
from support.commands import outcome
from test_causal_patching import SUFFIX, UNEQUAL, WORDS

N_LAYERS = 4  # of planted
CAUSAL = ("patching", "contributions", "ablation", "steering")
LEFT_OUT = ("transfer", "geometry", "circuit")
"""By the planted battery, which has one arm and two emotions, and by the preset."""


class Spy:
    """The passes of a real run by stage, as the model makes them; those of checks do not count."""

    def __init__(self, patch):
        self.passes, self.steps = defaultdict(list), defaultdict(int)
        self.batches, self.stage, self.study = 0, None, None
        self._checking = self._lowest = self._written = 0
        for name, stage in list(STAGE_FUNCTIONS.items()):
            patch.setitem(STAGE_FUNCTIONS, name, self._noting(name, stage))
        for name in ("forward", "resume", "_run", "generate"):
            watch = getattr(self, f"_{name.strip('_')}")
            patch.setattr(LanguageModel, name, watch(getattr(LanguageModel, name)))
        patch.setattr(recorder, "launch", self._launch(recorder.launch))

    def _noting(self, name, stage):
        def noted(begun):
            self.stage, self.study = name, begun
            return stage(begun)

        return noted

    def _forward(self, inner):
        def forward(model, *args, **how):
            self._checking += 1
            try:
                return inner(model, *args, **how)
            finally:
                self._checking -= 1

        return forward

    def _resume(self, inner):
        def resume(model, *args, begin=None, **how):
            self._lowest = 0 if begin is None else begin.layer
            return inner(model, *args, begin=begin, **how)

        return resume

    def _run(self, inner):
        def run(model, ids, mask, **options):
            rows, columns = ids.shape
            shape = PassShape(rows, columns, mask.shape[1] - columns, self._lowest)
            if self._written > 1:  # the first pass of a generation reads, the others write on
                self.steps[self.stage] += 1
            elif not self._checking:
                self.passes[self.stage].append(shape)
            self._lowest, self._written = 0, self._written + bool(self._written)
            return inner(model, ids, mask, **options)

        return run

    def _generate(self, inner):
        def generate(model, *args, **how):
            self._written = 1
            try:
                return inner(model, *args, **how)
            finally:
                self._written = 0

        return generate

    def _launch(self, inner):
        def launch(*args):
            self.batches += 1
            return inner(*args)

        return launch


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> study.Settings:
    out = tmp_path_factory.mktemp("planted") / "run"
    few = ("joy", "fear", "anger")
    return study.Settings.of(
        model="planted", stimuli="planted", out=out, preset="quick", emotions=few
    )


@pytest.fixture(scope="module")
def real(asked):
    """A whole quick study of the planted model, looked at."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spy = Spy(patch)
        study.run(asked)
    return spy


class Marked(Counted):
    """Of each generation only the first pass is among the passes; the others are counted."""

    def __init__(self, model):
        super().__init__(model)
        self.steps = 0

    def generate(self, prompts, *how, **more):
        before = len(self.passes)
        written = super().generate(prompts, *how, **more)
        self.steps += len(self.passes) - before - 1
        del self.passes[before + 1 :]
        return written


def rehearsed(asked, folder, *, real=None):
    """The passes of the causal stages, and the steps of all that was written; if a `real` run is
    given, on its activations, and with the layers that its patches chose.
    """
    battery = asked.read_battery()
    model = Marked(load("planted"))
    found = Rehearsal(asked, battery, model, out=folder)
    if real is not None:
        found.store = real.study.store
        found.sites.sort(key=lambda site: site.layer)
    passes = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name in CAUSAL:
            before = len(model.passes)
            STAGE_FUNCTIONS[name](found)
            passes[name] = model.passes[before:]
            if real is not None and name == "contributions":  # it chooses by what passes gave
                found.chosen.update(real.study.chosen)
    return passes, model.steps


@pytest.mark.slow
def test_on_the_real_activations_every_pass_of_a_run_is_counted(asked, real, tmp_path):
    """The same passes in the same order: rows, columns, what is cached, and where they begin."""
    counted, steps = rehearsed(asked, tmp_path, real=real)
    for name in CAUSAL:
        assert counted[name] == real.passes[name], name
        assert counted[name]
    assert steps >= real.steps["steering"] > 0  # a text may end early


@pytest.mark.slow
def test_on_made_up_activations_the_work_is_a_bound(asked, real, tmp_path):
    """Of ablation by tokens and blocks: which parts are knocked out says which share a pass. Where
    all of them are behind the first layer, there is one pass more, of the texts as they are.
    """

    def work(passes):
        return sum(one.rows * one.columns * (N_LAYERS - one.lowest) for one in passes)

    counted, steps = rehearsed(asked, tmp_path)
    assert counted["patching"] == real.passes["patching"]  # no earlier result decides there
    assert 1 <= work(counted["ablation"]) / work(real.passes["ablation"]) < 3
    assert len(counted["ablation"]) + 1 >= len(real.passes["ablation"])
    assert len(counted["ablation"]) < 3 * len(real.passes["ablation"])
    assert 1 <= len(counted["steering"]) / len(real.passes["steering"]) < 3
    assert steps >= real.steps["steering"]


@pytest.mark.slow
def test_batches_and_places_are_those_of_the_run(asked, real):
    model = load("planted")
    model.reading = asked.reading
    told = measure_stages(asked, asked.read_battery(), model, stages=STAGE_FUNCTIONS)
    assert told["batches: capture"] == real.batches > 1
    # planted has two emotions: too few for a geometry
    units = [name for name in STAGE_UNITS if name != "geometry"]
    tables = {name: read_table(asked.out / "tables" / f"{name}.csv") for name in units}
    probes = tables["probes"].query("site != '' and task == 'reception' and metric == 'auroc'")
    assert told["places: probes"] == len(probes[["site", "layer", "position"]].drop_duplicates())
    assert told["places: directions"] == tables["directions"]["layer"].nunique()
    assert told["places: cosines"] >= tables["cosines"]["layer"].nunique()
    assert told["emotions: contributions"] == tables["contributions"]["emotion"].nunique()
    # a quick study keeps one arm
    assert told["seconds: transfer"].startswith(
        "0, since it would be left out: fewer than two arms"
    )
    seconds = [told[f"seconds: {name}"] for name in STAGE_FUNCTIONS if name != "transfer"]
    assert all(math.isfinite(one) and one >= 0 for one in seconds)
    # each is rounded to a hundredth
    assert told["seconds: whole study"] == pytest.approx(
        sum(seconds), abs=0.005 * len(seconds) + 0.01
    )


LONG = {emotion: [f"so {words[0]}", f"so very {words[0]}"] for emotion, words in WORDS.items()}


@pytest.mark.parametrize("words", [WORDS, LONG], ids=["words of one token", "words of several"])
@pytest.mark.filterwarnings("ignore:.*begins with:UserWarning")
def test_what_is_read_on_behind_a_pass_is_counted_too(words, llama, monkeypatch):
    spy, counted = Spy(monkeypatch), Counted(llama)
    for model in (llama, counted):
        spy.stage = type(model).__name__
        sites = ("resid_pre@0", "resid_post", "z")
        patch_pairs(model, UNEQUAL, Readout(words, SUFFIX), Patches(sites=sites))
    assert counted.passes == spy.passes["LanguageModel"]
    assert any(one.lowest for one in counted.passes)


def test_a_counted_model_leaves_no_hook_and_the_model_as_it_was(llama):
    before, logits = llama.count_hooks(), llama.forward(llama.pad([[1, 2, 3]]))
    counted = Counted(llama)
    written = counted.generate([[1, 2, 3], [4, 5]], Decoding(max_new_tokens=6))
    assert [len(row) for row in written] == [6, 6]  # as long as they may be
    steps = [(2, 1, 3 + step) for step in range(5)]
    assert [one[:3] for one in counted.passes] == [(2, 3, 0), *steps]
    assert llama.count_hooks() == before
    assert (llama.forward(llama.pad([[1, 2, 3]])) == logits).all()


def test_seconds_lie_on_the_line_between_the_least_and_the_most_work():
    work = [5, 1, 3, 9]
    ran = []

    def run(number):
        ran.append(number)
        return 2.0 + 0.5 * work[number]

    assert seconds_by_work(work, run) == pytest.approx(sum(2.0 + 0.5 * one for one in work))
    assert ran == [1, 1, 3]
    assert seconds_by_work([4] * 7, lambda number: 0.25) == pytest.approx(1.75)
    assert seconds_by_work([], run) == 0.0
    slow_start = iter([9.0, 3.0, 1.0])
    assert seconds_by_work([1, 2], lambda number: next(slow_start)) == pytest.approx(6.0)


def line(out, *extra):
    asked = ("--model", "planted", "--stimuli", "planted", "--out", out, "--emotions", "joy,fear")
    return ("run", *asked, "--preset", "quick", *extra)


def test_measuring_is_for_a_dry_run_and_needs_no_other_speed(tmp_path):
    code, message = outcome(*line(tmp_path / "out", "--measure"))
    assert (code, "--measure is for --dry-run" in message) == (2, True)
    code, message = outcome(*line(tmp_path / "out", "--measure", "--dry-run", "--teraflops", "2"))
    assert (code, "give one of them" in message) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_measured_dry_run_says_the_seconds_of_each_stage_and_writes_nothing(tmp_path):
    words = [str(word) for word in line(tmp_path / "out", "--dry-run", "--measure", "--json")]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0
    assert result.stderr == ""
    told = {row["what"]: row["value"] for row in json.loads(result.stdout)}
    assert [what for what in told if what.startswith("seconds")] == [
        # one arm is kept, and two emotions have no geometry
        *(f"seconds: {name}" for name in STAGE_FUNCTIONS if name not in LEFT_OUT),
        "seconds: whole study",
    ]
    assert told["passes: patching"] > 1
    assert "real passes" in told["how it was measured"]
    assert "teraflops" not in told
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_stage_that_a_run_would_leave_out_says_why(tiny_folder, tmp_path):
    """The parts of this family do not add up: contributions are refused, in a run and here."""
    from support import matched_pairs

    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16))
    asked = ("--model", tiny_folder("granite"), "--stimuli", stimuli, "--out", tmp_path / "run")
    code, output = outcome("run", *asked, "--preset", "quick", "--dry-run", "--measure", "--json")
    assert code == 0, output
    told = {row["what"]: row["value"] for row in json.loads(output)}
    assert "do not add up to attn_out" in told["seconds: contributions"]
    assert told["seconds: patching"] > 0


@pytest.mark.slow
def test_the_passes_by_which_contributions_choose_their_place_are_in_their_seconds(
    asked, monkeypatch
):
    monkeypatch.setattr(measure, "seconds_of", lambda model, passes: 1000.0 * len(passes))
    stages = {"contributions": STAGE_FUNCTIONS["contributions"]}
    told = measure_stages(asked, asked.read_battery(), load("planted"), stages=stages)
    assert told["seconds: contributions"] > 1000
