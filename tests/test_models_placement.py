"""A model spread over devices computes what it computes on one. CPU memory and disk stand in for
GPUs, which tests lack.
"""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from interp.capture.plan import IDENTITY
from interp.capture.recording.engine import BridgeEngine, choose_engine
from interp.capture.recording.plain_engine import PlainEngine
from interp.capture.recording.recorder import Recorder
from interp.capture.workers.processes import Work
from interp.causal.contributions import contributions_at
from interp.causal.edits import add
from interp.causal.forward import Encoded, run_forward
from interp.causal.interventions import Intervention
from interp.causal.prefix import Prefix
from interp.cli import cli
from interp.errors import InternalError, ResourceError, UsageError
from interp.models import load
from interp.models.checks.doctor import confirm, examine
from interp.models.generation import Decoding
from interp.models.placement import check_placement, materialised
from interp.sites import Site, expand
from support.capture_cases import FEW, SITES, battery, capture, tree, write_store

LLAMA = {
    "model.embed_tokens": "cpu",
    "model.rotary_emb": "cpu",
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.layers.2": "disk",
    "model.norm": "disk",
    "lm_head": "disk",
}
GPT2 = {
    "transformer.wte": "cpu",
    "transformer.wpe": "cpu",
    "transformer.h.0": "cpu",
    "transformer.h.1": "disk",
    "transformer.h.2": "disk",
    "transformer.ln_f": "cpu",
    "lm_head": "cpu",
}
GEMMA = {"model": "disk", "lm_head": "disk"}
MAPS = {"llama": LLAMA, "gpt2": GPT2, "gemma2": GEMMA, "llama all on disk": {"": "disk"}}


@pytest.fixture(scope="module", params=MAPS)
def two(request, tiny_folder):
    """A model on one device, and the same one spread over CPU memory and disk."""
    folder = str(tiny_folder(request.param.split()[0]))
    return load(folder, check=False), load(folder, device=MAPS[request.param], check=False)


def close(a, b):
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    return float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


def test_captured_values_are_those_of_the_plain_model(two):
    plain, spread = two
    positions = ("last", "mean_content", "all")
    stores = [
        capture(model, battery(3), sites=SITES, positions=positions, token_budget=64)
        for model in two
    ]
    assert stores[0].provenance["engine"].startswith("plain")
    assert stores[1].provenance["engine"] == "bridge"
    assert "spread over several devices" in stores[1].provenance["engine_reason"]
    for site in stores[0].sites:
        for position in positions:
            assert close(stores[1].read(site, position).x, stores[0].read(site, position).x), (
                f"{site} {position}"
            )
    eager = (
        capture(plain, battery(2), sites=SITES, attention="eager")
        .read("blocks.1.hook_resid_post")
        .x
    )
    assert np.array_equal(
        capture(spread, battery(2), sites=SITES).read("blocks.1.hook_resid_post").x, eager
    )


def test_the_doctor_finds_nothing(two):
    confirm(two[1])
    rows = examine(two[1])
    assert [row["check"] for row in rows] == [row["check"] for row in examine(two[0])]
    assert all(row["passed"] for row in rows), rows


def test_weights_are_handed_out_with_their_values(two):
    plain, spread = two
    assert spread.block(1).mlp.out.weight.device.type == "meta", (
        "the map must keep this layer on disk"
    )
    with materialised(spread.block(1)):
        assert spread.block(1).mlp.out.weight.device.type == "cpu"
    assert spread.block(1).mlp.out.weight.device.type == "meta"
    for read in ("W_O", "b_O", "W_out", "b_out"):
        for layer in range(plain.dims.n_layers):
            assert torch.equal(getattr(spread, read)(layer), getattr(plain, read)(layer)), (
                f"{read} {layer}"
            )
    assert torch.equal(spread.W_U, plain.W_U)
    assert torch.equal(spread.W_E, plain.W_E)
    assert spread.dims == plain.dims
    assert spread.device == torch.device("cpu")


def test_a_weight_that_stays_without_values_is_refused(two, monkeypatch):
    spread = two[1]
    monkeypatch.setattr("interp.models.weights.materialised", lambda module: torch.no_grad())
    with pytest.raises(
        ResourceError, match="values of W_out cannot be fetched from where they lie"
    ):
        spread.W_out(1)


def test_runs_edits_and_contributions_are_those_of_the_plain_model(two):
    rows = sorted(two[0].tokenize([item.text for item in battery(3)]), key=len)
    encoded = [Encoded(tuple(row), len(row) - 1) for row in rows]
    v = np.random.default_rng(0).standard_normal(two[0].dims.d_model)
    edit = [Intervention(Site("resid_post", 1), add(v), "last")]
    found = []
    for model in two:
        clean, edited = (
            run_forward(model, encoded, read=[Site("z", 1)]),
            run_forward(model, encoded, interventions=edit),
        )
        resumed = Prefix(model, encoded, [row.end for row in encoded]).run(edit)
        z = clean.at(Site("z", 1), [row.end for row in encoded]).numpy()
        found.append(
            (
                clean.logits,
                edited.logits,
                resumed.logits,
                contributions_at(model, Site("z", 1), z, v),
            )
        )
    for one, other in zip(*found, strict=True):
        assert close(other, one)
    assert not close(found[0][0], found[0][1])
    texts = [model.generate(rows, Decoding(max_new_tokens=4)) for model in two]
    assert texts[0] == texts[1]


def test_an_exception_inside_a_hook_leaves_the_model_as_it_was(two):
    spread = two[1]
    batch = spread.pad([[5, 6, 7]])
    before = spread.forward(batch)

    def fail(tensor, hook):
        raise KeyError("planned")

    with pytest.raises(KeyError):
        spread.forward(batch, hooks=[(Site("post", 1).hook, fail)])
    assert spread.block(1).mlp.out.weight.device.type == "meta"
    assert torch.equal(spread.forward(batch), before)


def test_plain_modules_are_refused(two):
    sites = expand(["resid_post"], n_layers=3)
    engine, _ = choose_engine(two[1], sites)
    assert isinstance(engine, BridgeEngine)
    with pytest.raises(InternalError, match="spread over devices"):
        PlainEngine(two[1], sites)


def test_the_provenance_says_where_it_lies_and_the_identity_does_not(tiny_folder):
    folder = tiny_folder("llama")
    plain, spread = load(str(folder), check=False), load(str(folder), device=LLAMA, check=False)
    lies = spread.provenance["device_map"]
    assert json.loads(json.dumps(lies)) == lies
    assert lies["modules"] == LLAMA
    sizes = {"cpu": 0, "disk": 0}
    with safe_open(folder / "model.safetensors", framework="np") as file:
        for name in file.keys():  # noqa: SIM118
            entry = next(module for module in LLAMA if name.startswith(module))
            sizes[LLAMA[entry]] += file.get_tensor(name).nbytes
    assert lies["bytes"] == sizes
    assert plain.provenance["device_map"] is None
    assert "device_map" not in IDENTITY
    assert {key: plain.provenance[key] for key in IDENTITY} == {
        key: spread.provenance[key] for key in IDENTITY
    }
    assert plain.provenance["digest"] == spread.provenance["digest"]


def test_a_capture_begun_on_one_device_goes_on_spread(tiny_folder, tmp_path):
    folder, out = str(tiny_folder("llama")), tmp_path / "run"
    plain, spread = load(folder, check=False), load(folder, device=LLAMA, check=False)
    write_store(plain, out, attention="eager").close()
    whole = tree(out)
    lost = sorted((out / "shards").iterdir())[0]
    manifest = (out / "manifest.jsonl").read_text().splitlines(keepends=True)
    (out / "manifest.jsonl").write_text("".join(line for line in manifest if lost.name not in line))
    lost.unlink()
    write_store(spread, out, attention="eager").close()
    assert tree(out)[f"shards/{lost.name}"] == whole[f"shards/{lost.name}"]


def test_workers_load_the_model_as_it_was_loaded(tiny_folder, tmp_path):
    from interp.capture.options import Options
    from interp.capture.plan import make_plan
    from interp.capture.store.folder import RunFolder

    model = load(str(tiny_folder("llama")), device=LLAMA, check=False)
    recorder = Recorder(
        model, make_plan(model, battery(2), sites=FEW, positions=("last",), options=Options())
    )
    work = Work.of(recorder, RunFolder.begin(tmp_path, recorder.head))
    assert (work.device, work.gpus) == (LLAMA, 0)
    again = work.recorder().model
    assert again.spread
    assert again.provenance == model.provenance


@pytest.mark.slow
def test_processes_make_the_serial_tree_of_a_spread_model(tiny_folder, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = load(str(tiny_folder("llama")), device=LLAMA, check=False)
        write_store(model, tmp_path / "serial").close()
        write_store(model, tmp_path / "processes", executor="processes:2").close()
    finally:
        torch.set_num_threads(threads)
    assert tree(tmp_path / "processes") == tree(tmp_path / "serial")


def test_spreading_says_nothing(tiny_folder, capfd):
    load(str(tiny_folder("llama")), device=LLAMA)
    assert capfd.readouterr() == ("", "")


def test_auto_is_the_machines_choice(tiny_folder):
    folder = str(tiny_folder("gpt2"))
    plain, auto = load(folder, check=False), load(folder, device="auto")
    assert auto.placement == "auto"
    if not torch.cuda.is_available():
        assert auto.provenance["device_map"] is None, "on one device there is nothing to tell"
        assert not auto.spread
    batch = plain.pad([[5, 6, 7]])
    assert close(auto.forward(batch).cpu(), plain.forward(batch))


def test_a_testbed_lies_on_one_device():
    assert load("planted", device="auto", check=False).device.type in ("cpu", "cuda")
    with pytest.raises(UsageError, match="planted is built in memory"):
        load("planted", device={"": "cpu"})


@pytest.mark.parametrize(
    ("device", "error", "told"),
    [
        ({}, UsageError, "device map is empty"),
        ({"": "abacus"}, UsageError, "unknown device 'abacus'"),
        ({"": "meta"}, ResourceError, "'meta' is not there: this machine offers cpu"),
        ({"": 99}, ResourceError, "'cuda:99' is not there"),
        ("cuda:99", ResourceError, "'cuda:99' is not there"),
        ({"transformer.h.0": "cpu"}, UsageError, "gives 'transformer.wte.weight' no device"),
        (
            {"": "cpu", "transformer.h.9": "disk"},
            UsageError,
            "names 'transformer.h.9', and the model has no such module",
        ),
        (
            {**GPT2, "lm_head": "disk"},
            UsageError,
            "'lm_head.weight' and 'transformer.wte.weight' are one weight",
        ),
        (
            {"": "cpu", "transformer.h.1.attn": "disk"},
            UsageError,
            "cannot be spread by this device map",
        ),
    ],
)
def test_a_placement_that_cannot_be(tiny_folder, device, error, told):
    with pytest.raises(error, match=told):
        load(str(tiny_folder("gpt2")), device=device)


def test_one_device_is_told_from_many(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_placement("cuda:1") == torch.device("cuda", 1)
    assert check_placement("auto") is None
    assert check_placement({"a": 0, "b": 1, "c": "disk"}) is None
    with pytest.raises(
        ResourceError, match=r"'cuda:2' is not there: this machine offers cpu, cuda:0..1"
    ):
        check_placement({"a": 2})


def test_the_command_line_takes_auto(tiny_folder):
    result = CliRunner().invoke(
        cli, ["doctor", str(tiny_folder("gpt2")), "--device", "auto", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert all(row["passed"] for row in json.loads(result.output))
    help_ = CliRunner().invoke(cli, ["run", "--help"]).output
    assert "auto: spread over all" in " ".join(help_.split())
