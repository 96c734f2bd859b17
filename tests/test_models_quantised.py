"""Quantised checkpoints: told by their config, refused where what reads them is missing, and never
compared as if exact.
"""

import shutil
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from interp import study
from interp.capture import capture
from interp.capture.plan import IDENTITY
from interp.causal.contributions import contributions_at
from interp.causal.patching import Patches, patch_pairs
from interp.causal.readout import Readout
from interp.causal.steering import dose_response, steer
from interp.cli import cli
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models import load
from interp.models.checks.doctor import examine
from interp.models.checks.probe import TOLERANCE
from interp.models.loading import sources
from interp.models.quantised import method_of
from interp.records import read_record
from interp.sites import Site
from support import matched_pairs
from support.capture_cases import battery
from support.given_directions import first_axis
from support.tiny_models import edit_config

READOUT = Readout({"joy": ["happy"], "sadness": ["sad"], "neutral": ["cold"]}, " It was")
BITS = {"bits": 4, "group_size": 32}
METHODS = {
    "awq": ({**BITS, "zero_point": True}, "gptqmodel"),
    "gptq": (BITS, "optimum"),
    "bitsandbytes": ({"load_in_4bit": True}, "bitsandbytes"),
    "aqlm": ({}, "aqlm"),
    "quanto": ({"weights": "int8"}, "optimum-quanto"),
    "compressed-tensors": ({"format": "int-quantized", "config_groups": {}}, "compressed-tensors"),
}


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of a tiny Llama's folder."""
    return shutil.copytree(tiny_folder("llama"), tmp_path / "model")


@pytest.mark.parametrize(
    ("told", "method"),
    [
        ({}, None),
        ({"quantization_config": None}, None),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"load_in_8bit": True}}, "bitsandbytes"),
    ],
)
def test_the_method_is_read_off_the_config(told, method):
    assert method_of(told, "here") == method


@pytest.mark.parametrize("told", [{}, {"quant_method": None}, [4], "gptq", {"quant_method": 3}])
def test_a_config_that_names_no_method(folder, told):
    edit_config(folder, quantization_config=told)
    with pytest.raises(ArtefactError, match=r"quantization_config that names no quant_method"):
        load(str(folder))


@pytest.mark.parametrize("method", METHODS)
def test_a_package_that_is_missing_is_named(folder, method, monkeypatch):
    settings, package = METHODS[method]
    edit_config(folder, quantization_config={"quant_method": method, **settings})
    # it is refused before weights are read
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    with pytest.raises(
        ResourceError,
        match=rf"model is quantised \({method}\).*{package}.*checkpoint that it was made from",
    ):
        load(str(folder))


def test_the_command_line_says_it_in_one_line(folder):
    edit_config(folder, quantization_config={"quant_method": "awq", **METHODS["awq"][0]})
    result = CliRunner().invoke(cli, ["doctor", str(folder)])
    assert isinstance(result.exception, ResourceError)
    assert result.exception.exit_code == 5
    assert str(folder) in str(result.exception)
    assert "\n" not in str(result.exception)


def test_hardware_that_is_missing(folder):
    if torch.cuda.is_available():
        return
    edit_config(folder, quantization_config={"quant_method": "higgs", "bits": 4})
    with pytest.raises(
        ResourceError, match=r"quantised \(higgs\), and this machine cannot run it \(.*GPU"
    ):
        load(str(folder))


def test_a_method_that_nobody_reads(folder):
    edit_config(folder, quantization_config={"quant_method": "homeopathy"})
    with pytest.raises(
        UsageError, match=r"quantised by 'homeopathy', which transformers does not read"
    ):
        load(str(folder))


class Packed(torch.nn.Linear):
    """A linear layer that keeps its matrix in 8 bits and a scale a row, as quantised checkpoints
    keep theirs.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.weight = torch.nn.Parameter(
            (linear.weight.detach() / scale).round().to(torch.int8), requires_grad=False
        )
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight.to(x.dtype) * self.scale)


@pytest.fixture(scope="module")
def exact(tiny_folder):
    """The model that the quantised one is made from; loaded before any loader is replaced."""
    return load(str(tiny_folder("llama")), check=False)


@pytest.fixture
def quantised(exact, folder, tiny_folder, monkeypatch):
    """The folder of a checkpoint said to be quantised by gptq, and a loader that packs its
    matrices.
    """
    told = {"quant_method": "gptq", **BITS}
    edit_config(folder, quantization_config=told)
    read = AutoModelForCausalLM.from_pretrained
    maps = []

    def packed(path, **options):
        maps.append(options["device_map"])
        model, report = read(tiny_folder("llama"), **options)
        for layer in model.model.layers:
            layer.self_attn.o_proj = Packed(layer.self_attn.o_proj)
            layer.mlp.down_proj = Packed(layer.mlp.down_proj)
        model.config.quantization_config = told
        return model, report

    monkeypatch.setattr(sources, "require_reader", lambda config, where, *, device_map: None)
    monkeypatch.setattr(sources.AutoModelForCausalLM, "from_pretrained", packed)
    yield folder
    assert set(map(str, maps)) == {"{'': device(type='cpu')}"}, (
        "quantised weights are read where they are to lie"
    )


def test_the_method_is_recorded_and_decides_what_a_capture_is_of(quantised, exact):
    model = load(str(quantised))
    assert model.quantised
    assert model.provenance["quantisation"] == "gptq"
    assert "quantisation" in IDENTITY
    assert exact.provenance["quantisation"] is None
    assert not exact.quantised


def test_captured_values_are_the_quantised_models_own(quantised, exact):
    model = load(str(quantised))
    store, other = (capture(one, battery(2), sites=("resid_post",)) for one in (model, exact))
    assert store.provenance["engine"] == "bridge"
    assert "quantised" in store.provenance["engine_reason"]
    a, b = (one.read("blocks.2.hook_resid_post").x for one in (store, other))
    assert 1e-4 < np.abs(a - b).max() / np.abs(b).max() < 0.2
    plain = model.plain()
    kept = []
    plain.model.layers[2].register_forward_hook(lambda module, args, out: kept.append(out))
    row = model.tokenize([battery(2).items[0].text])
    with torch.no_grad():
        plain(torch.tensor(row))
    assert np.abs(kept[0][0, -1].numpy() - a[0]).max() <= 1e-5 * np.abs(a).max()


def test_packed_matrices_are_refused_and_the_doctor_leaves_them_out(quantised):
    model = load(str(quantised))
    for read in (model.W_O, model.W_out):
        with pytest.raises(UsageError, match="cannot be read: the checkpoint is quantised"):
            read(1)
    with pytest.raises(UsageError, match="W_out cannot be read"):
        contributions_at(
            model,
            Site("post", 1),
            np.ones((2, model.dims.d_mlp), np.float32),
            np.ones(model.dims.d_model),
        )
    assert model.W_U.shape == (model.dims.d_model, model.dims.d_vocab)
    assert torch.equal(model.b_O(0), torch.zeros(model.dims.d_model))
    assert model.dims.d_mlp == 48
    rows = examine(model)
    assert {"head sum", "neuron sum"}.isdisjoint(row["check"] for row in rows)
    assert all(row["passed"] for row in rows), rows
    assert rows[0]["bound"] == TOLERANCE[torch.float8_e4m3fn]


def test_comparisons_of_runs_warn(quantised, exact):
    model = load(str(quantised))
    pairs = battery(3).pairs()
    asked = {
        "patching": lambda one: patch_pairs(
            one, pairs, READOUT, Patches(sites=("resid_post@1",), modes=("denoise",))
        ),
        "steering": lambda one: steer(one, ["the dog ran"], first_axis(one), max_new_tokens=2),
    }
    for what, run in asked.items():
        with pytest.warns(
            UserWarning,
            match=rf"is quantised \(gptq\).*what {what} finds holds for this checkpoint",
        ):
            run(model)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(exact)
    with pytest.warns(UserWarning, match="is quantised"):
        dose_response(
            model,
            [pair.neutral for pair in pairs],
            {"joy": first_axis(model)},
            READOUT,
            scales=(1.0,),
        )


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_study_keeps_the_warning_and_says_what_was_not_run(quantised, tmp_path):
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16))
    asked = {"model": str(quantised), "stimuli": str(stimuli), "out": tmp_path / "run"}
    settings = study.Settings(
        **asked, sites=("resid_post", "z", "post"), positions=("last",), preset="quick"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        summary = study.run(settings)
    told = read_record(tmp_path / "run" / "run.json").warnings
    assert list(told) == summary["warnings"]
    for stage in ("patching", "steering"):
        assert [
            line for line in told if line.startswith(f"{stage}: ") and "is quantised (gptq)" in line
        ]
    for stage in ("contributions", "ablation"):
        assert [
            line for line in told if line.startswith(f"{stage} was not run: W_O cannot be read")
        ]


@pytest.fixture
def eight_bits(folder):
    """A folder whose matrices are float8 with a scale a block, as finegrained-fp8 checkpoints have
    them.
    """
    path = folder / "model.safetensors"
    tensors, block = load_file(path), 8
    for name in [name for name in tensors if name.endswith("proj.weight")]:
        weight = tensors[name]
        blocks = weight.unflatten(0, (-1, block)).unflatten(2, (-1, block))
        scale = blocks.abs().amax((1, 3)) / 448
        tensors[name] = (
            (blocks / scale[:, None, :, None]).reshape(weight.shape).to(torch.float8_e4m3fn)
        )
        tensors[name.replace(".weight", ".weight_scale_inv")] = scale
    save_file(tensors, path, metadata={"format": "pt"})
    settings = {
        "quant_method": "fp8",
        "weight_block_size": [block, block],
        "activation_scheme": "dynamic",
    }
    edit_config(folder, quantization_config=settings)
    return folder


def test_a_checkpoint_whose_quantisation_is_undone_while_loading(eight_bits, exact):
    """Without a GPU transformers turns float8 matrices back: they are plain again, and the record
    says what they were.
    """
    if torch.cuda.is_available():
        return
    with (
        pytest.warns(UserWarning, match="weights dequantised from fp8"),
        pytest.warns(UserWarning, match="transformers warns: .*FP8.* we will default to"),
    ):
        model = load(str(eight_bits))
    assert model.provenance["quantisation"] == "fp8, undone while loading"
    assert not model.quantised
    rounding = (model.W_O(1) - exact.W_O(1)).abs() / exact.W_O(1).abs().clamp(min=1e-3)
    assert 1e-3 < rounding.max() < 0.1
    store = capture(model, battery(2), sites=("resid_post",))
    assert store.provenance["engine"].startswith("plain")
    assert all(row["passed"] for row in examine(model))
