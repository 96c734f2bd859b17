"""What a method relies on is proved before its numbers, where it reads or edits, in the precision
that is run; what does not hold is refused there, and sound sites stay usable.
"""

import json

import numpy as np
import pytest
import torch

from interp.capture import capture
from interp.causal.bench import Bench, Knockout
from interp.causal.contributions import Component, EmotionTwins, contribution_rows
from interp.causal.edits import zero
from interp.causal.interventions import Intervention, applied
from interp.causal.knockout import measure
from interp.causal.patching import Patches, patch_pairs
from interp.causal.readout import Readout
from interp.causal.steering import check_direction, steer
from interp.errors import InternalError, UsageError
from interp.models import LanguageModel, load
from interp.models.checks.doctor import examine
from interp.models.checks.model_checks import MODEL_CHECKS
from interp.models.checks.probe import LOST, TOLERANCE, pass_bound
from interp.models.checks.reliance import INSTEAD, RELIES_ON, refusal, require, usable
from interp.models.checks.site_checks import SITE_CHECKS
from interp.sites import SITE_NAMES, Site
from support.capture_cases import battery
from support.commands import outcome
from support.given_directions import given
from test_causal_patching import SUFFIX, UNEQUAL, WORDS

READOUT = Readout(WORDS, SUFFIX)
ADDED = Site("attn_out", 1)


@pytest.fixture
def llama(tiny_folder):
    return load(str(tiny_folder("llama")))


@pytest.fixture(scope="module")
def mixtral(tiny_folder):
    return load(str(tiny_folder("mixtral")))


@pytest.fixture(scope="module")
def opt(tiny_folder):
    return load(str(tiny_folder("opt")))


def direction(model, site=ADDED):
    return given(np.eye(model.dims.d_model)[0], site, provenance=model.provenance)


def test_the_table_names_checks_sites_and_remedies_that_exist():
    assert set(RELIES_ON) == set(INSTEAD)
    for needs in RELIES_ON.values():
        assert set(needs.sites) <= set(SITE_CHECKS)
        assert set(needs.whole) <= set(MODEL_CHECKS)
        assert {name for names in needs.sites.values() for name in names} <= set(SITE_NAMES)
    used = {check for needs in RELIES_ON.values() for check in (*needs.sites, *needs.whole)}
    assert used == {*SITE_CHECKS, *MODEL_CHECKS}


def deafen(monkeypatch, *deaf):
    """Edits at the sites `deaf` are dropped on the way, as where a bridge shows a copy."""
    forward = LanguageModel.forward
    silent = {site.hook for site in deaf}

    def reading(fn):
        return lambda tensor, hook: (fn(tensor, hook), None)[1]

    def run(self, batch, *, hooks=(), stop_at_layer=None):
        heard = [(name, reading(fn) if name in silent else fn) for name, fn in hooks]
        return forward(self, batch, hooks=heard, stop_at_layer=stop_at_layer)

    monkeypatch.setattr(LanguageModel, "forward", run)


def test_an_edit_without_effect_refuses_what_edits_there_and_nothing_else(llama, monkeypatch):
    deafen(monkeypatch, ADDED, Site("z", 2))
    told = r"patching is refused: blocks\.1\.hook_attn_out can be edited without effect.*" \
        r"the logits stay, not others.*Patch resid_pre or resid_post"  # fmt: skip
    with pytest.raises(UsageError, match=told):
        patch_pairs(llama, UNEQUAL, READOUT, Patches(sites=("attn_out",), positions=("last",)))
    with pytest.raises(UsageError, match=r"steering is refused: blocks\.1\.hook_attn_out can be"):
        steer(llama, ["the dog"], direction(llama), max_new_tokens=2)
    bench = Bench(llama, UNEQUAL, {"fear": direction(llama, Site("resid_post", 2))}, READOUT)
    with pytest.raises(UsageError, match=r"ablation is refused: blocks\.2\.attn\.hook_z can be"):
        measure(bench, [Knockout((Component("z", 2, 1),), (0,))])
    assert np.isfinite(measure(bench, [Knockout((Component("z", 1, 1),), (0,))]).score[0, 0])
    assert patch_pairs(llama, UNEQUAL, READOUT, Patches(sites=("attn_out@0",), positions=("last",)))
    assert capture(llama, battery(2), sites=["attn_out"]).sites


def test_an_edit_with_another_effect_than_its_name_says_is_seen(llama):
    """What is put at attn_out is shown there, and half of it is added to the stream."""
    attention, kept = llama.bridge.blocks[1].attn, {}

    def half(module, args, output):
        return ((output[0] + kept["before"]) / 2, *output[1:])

    def keep(module, args, output):
        kept["before"] = args[0]

    attention.hook_out.register_forward_hook(keep)
    attention.register_forward_hook(half)
    found, refused = usable(llama, "patching", [Site("attn_out", layer) for layer in range(3)])
    assert found == [Site("attn_out", 0), Site("attn_out", 2)]
    assert "with another than its name says" in refused[ADDED]
    assert refusal(llama, "capture", [ADDED]) is None


def test_a_sublayer_that_is_not_what_is_added_is_told_when_loaded_and_refused(llama, monkeypatch):
    """Something slips in between the MLP's output and the end of one block."""
    inner = llama.bridge.blocks[1]._original_component

    def add_one(module, args, output):
        return output + 1 if isinstance(output, torch.Tensor) else output

    handle = inner.register_forward_hook(add_one)
    llama.known = None  # else the logits are held against those from before
    llama.proofs.clear()
    told = r"capture is refused: the stream after the block of blocks\.1"
    with pytest.raises(UsageError, match=told) as error:
        capture(llama, battery(2), sites=["mlp_out"])
    assert "residual identity: error" in str(error.value)
    assert "Capture resid_pre or resid_post of that layer" in str(error.value)
    assert capture(llama, battery(2), sites=["mlp_out@0", "resid_post"]).sites
    assert "residual identity" in str(refusal(llama, "contributions", [Site("post", 1)]).text)
    assert refusal(llama, "contributions", [Site("post", 2)]) is None
    handle.remove()


def test_a_part_of_contributions_stays_usable(llama, monkeypatch):
    right = LanguageModel.W_O
    scaled = lambda self, layer: right(self, layer) * (1.5 if layer == 1 else 1)  # noqa: E731
    monkeypatch.setattr(LanguageModel, "W_O", scaled)
    sites = [Site(name, layer) for layer in range(3) for name in ("z", "post")]
    found, refused = usable(llama, "contributions", sites)
    assert set(refused) == {Site("z", 1)}
    assert found == [site for site in sites if site != Site("z", 1)]
    numbers = r"\(-?[\d.e-]+, and -?[\d.e-]+ is added\).*head sum: error 5\.0e-01, bound 1e-05"
    with pytest.raises(UsageError, match=rf"blocks\.1\.attn\.hook_z do not add up.*{numbers}"):
        require(llama, "contributions", sites)


def test_a_bare_hook_at_resid_mid_reaches_the_mlp_alone(llama):
    """As Hugging Face has it: the norm before the MLP alone reads what the bridge shows. This is
    why an edit there is carried on (`editable.edit_hooks`).
    """
    rows = llama.tokenize(["the dog ran"])
    vector = torch.randn(llama.dims.d_model, generator=torch.Generator().manual_seed(0))
    hook = (Site("resid_mid", 1).hook, lambda x, hook: x + vector)
    edited = llama.forward(llama.pad(rows), hooks=[hook])
    plain = llama.plain()
    norm = plain.model.layers[1].post_attention_layernorm
    norm.register_forward_pre_hook(lambda module, args: (args[0] + vector,))
    with torch.no_grad():
        only_the_mlp = plain(torch.tensor(rows)).logits
    assert torch.allclose(edited, only_the_mlp, atol=1e-4 * float(edited.abs().max()))


def test_where_the_stream_does_not_pass_resid_mid_it_is_read_only(llama, monkeypatch):
    """As where attention and MLP read the same stream: what is put there is no stream."""
    forward = LanguageModel.forward

    def parallel(self, batch, *, hooks=(), stop_at_layer=None):
        """The stream behind the first block is half of what it is said to be."""
        half = (Site("resid_post", 0).hook, lambda x, hook: x / 2)
        return forward(self, batch, hooks=[half, *hooks], stop_at_layer=stop_at_layer)

    monkeypatch.setattr(LanguageModel, "forward", parallel)
    llama.__dict__.pop("read_only", None)  # it was looked at when the model was loaded
    assert "resid_mid" in llama.read_only
    told = r"patching is refused: blocks\.0\.hook_resid_mid is read-only"
    with pytest.raises(UsageError, match=told):
        patch_pairs(llama, UNEQUAL, READOUT, Patches(sites=("resid_mid",)))
    with pytest.raises(UsageError, match=r"steering is refused: .* is read-only here"):
        check_direction(llama, direction(llama, Site("resid_mid", 1)))
    row = next(row for row in llama.sites() if row["site"] == "resid_mid")
    assert row["accepted_by"] == "capture, probe, directions (read-only here)"


def test_hooks_are_counted_from_what_was_there(opt):
    assert opt.count_hooks() > 0
    assert opt.hooks_clean()
    rows = patch_pairs(opt, UNEQUAL, READOUT, Patches(sites=("resid_post@1",), positions=("last",)))
    assert {row["metric"] for row in rows} >= {"logit_diff"}
    along = direction(opt, Site("resid_post", 1))
    assert len(steer(opt, ["the dog"], along, max_new_tokens=2)) == 1
    point = opt.bridge.hook_dict["blocks.2.hook_resid_post"]
    with opt.bridge.hooks(fwd_hooks=[(point.name, lambda x, hook: None)]):
        assert opt.strange_hooks() == [point.name]
        edit = Intervention(Site("resid_post", 0), zero())
        with pytest.raises(InternalError, match=r"hooks sit on the model before.*2\.hook_out"):
            applied(opt, [edit], lengths=[2]).__enter__()
    assert opt.hooks_clean()


def test_a_hook_that_took_the_place_of_another_is_strange(opt):
    """Their number is the same."""
    point = next(point for point in opt.bridge.hook_points() if point.fwd_hooks)
    kept, number = list(point.fwd_hooks), opt.count_hooks()
    point.fwd_hooks.clear()
    point.add_hook(lambda x, hook: None)
    try:
        assert opt.count_hooks() == number
        assert opt.strange_hooks() == [point.name]
    finally:
        for hook in point.fwd_hooks:
            hook.hook.remove()
        point.fwd_hooks[:] = kept
    assert opt.hooks_clean()


def test_a_mixture_of_experts_is_used_but_for_its_neurons(mixtral):
    offered = {row["site"] for row in mixtral.sites()}
    assert offered == set(SITE_NAMES) - {"pre", "post"}
    stored = capture(mixtral, battery(2), sites=["resid_post", "mlp_out", "z"])
    assert len(stored.sites) == 3 * mixtral.dims.n_layers
    with pytest.raises(UsageError, match=r"no blocks\.0\.mlp\.hook_post: its MLP shows no neurons"):
        capture(mixtral, battery(2), sites=["post"])
    heads = [Site("z", layer) for layer in range(mixtral.dims.n_layers)]
    values = {site: stored.read(site, "last_content").x for site in heads}
    last = Site("resid_post", mixtral.dims.n_layers - 1)
    twins = EmotionTwins("joy", np.array([[0, 1]]), ["g"])
    rows = contribution_rows(mixtral, values, twins, direction(mixtral, last))
    assert {row["component"] for row in rows} == {"head"}
    assert patch_pairs(
        mixtral, UNEQUAL, READOUT, Patches(sites=("mlp_out@1",), positions=("last",))
    )
    checks = {row["check"]: row["passed"] for row in examine(mixtral)}
    assert checks["head sum"]
    assert all(checks.values())
    assert "neuron sum" not in checks


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("codegen", r"does not run under TransformerLens's bridge \(AttributeError: .*embed_pos"),
        ("openai_gpt", r"stream cannot be read: nothing passes at blocks\.0\.hook_resid_post"),
        ("falcon_new", r"falcon: TransformerLens says split_with_sizes"),
    ],
)
def test_a_bridge_that_does_not_serve_a_model_is_told_as_that(family, told, tiny_folder):
    with pytest.raises(UsageError, match=told):
        load(str(tiny_folder(family)))


def test_sites_of_another_shape_are_told_when_loaded_and_left_usable_around(tiny_folder):
    told = r"not what its name says at blocks\.0\.attn\.hook_q.*Refused there: capture"
    with pytest.warns(UserWarning, match=told):
        model = load(str(tiny_folder("deepseek_v3")))
    told = r"capture is refused: the shape \(1, 11, 8, 4\) passes at blocks\.0\.attn\.hook_z"
    with pytest.raises(UsageError, match=told):
        capture(model, battery(2), sites=["z"])
    assert capture(model, battery(2), sites=["resid_post", "attn_out"]).sites
    assert steer(model, ["the dog"], direction(model, Site("resid_post", 1)), max_new_tokens=2)


@pytest.mark.parametrize("family", ["olmo2", "olmo", "glm", "gpt_neox"])
def test_the_doctor_examines_the_precision_that_is_run(family, tiny_folder):
    code, printed = outcome("doctor", tiny_folder(family), "--dtype", "bfloat16", "--json")
    rows = {row["check"]: row for row in json.loads(printed)}
    assert [row for row in rows.values() if not row["passed"]] == []
    assert code == 0
    assert rows["residual identity"]["bound"] == TOLERANCE[torch.bfloat16]
    assert TOLERANCE[torch.bfloat16] <= rows["plain Hugging Face"]["bound"] <= LOST
    code, printed = outcome("doctor", tiny_folder(family), "--json")
    assert json.loads(printed)[0]["bound"] == TOLERANCE[torch.float32]


def test_a_bound_grows_with_what_the_model_makes_of_a_rounding(tiny_folder):
    calm = load(str(tiny_folder("gpt2")), dtype="bfloat16")
    wild = load(str(tiny_folder("glm")), dtype="bfloat16")
    assert pass_bound(wild) > pass_bound(calm) >= TOLERANCE[torch.bfloat16]
    assert pass_bound(load(str(tiny_folder("gpt2")))) == TOLERANCE[torch.float32]


def test_a_lost_mask_is_seen_in_bfloat16_too(tiny_folder, monkeypatch):
    run = LanguageModel._run

    def unmasked(self, ids, mask, **named):
        return run(self, ids, torch.ones_like(mask), **named)

    monkeypatch.setattr(LanguageModel, "_run", unmasked)
    for family in ("llama", "glm"):
        with pytest.raises(InternalError, match="left padding self-check failed"):
            load(str(tiny_folder(family)), dtype="bfloat16")


def test_a_proof_is_made_once(llama, monkeypatch):
    sites = [Site("resid_post", layer) for layer in range(3)]
    require(llama, "patching", sites)
    monkeypatch.setattr(LanguageModel, "forward", None)
    require(llama, "patching", sites)


def test_the_doctor_says_which_methods_are_refused_and_where(tiny_folder):
    code, printed = outcome("doctor", tiny_folder("granite"), "--json")
    failed = {row["check"]: row for row in json.loads(printed) if not row["passed"]}
    assert code == 1
    assert set(failed) == {"head sum", "neuron sum"}
    assert failed["head sum"]["refuses"] == "contributions"
    assert failed["head sum"]["sites"].startswith("blocks.0.attn.hook_z, ")
