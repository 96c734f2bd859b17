"""The arithmetic flags: read for a device that need not be there, recorded, and warned of where
float32 is not float32.
"""

import pytest
import torch

from interp.capture.plan import identity
from interp.models import load
from interp.models.arithmetic import FALLBACK, arithmetic, coarsest, doubt_arithmetic, set_precision
from interp.models.loading import loader

CUDA, MPS, CPU = torch.device("cuda", 1), torch.device("mps"), torch.device("cpu")


@pytest.fixture(autouse=True)
def _flags_as_they_were():
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(deterministic)


def test_flags_of_a_gpu():
    assert arithmetic(CPU) is None
    assert arithmetic(CUDA) == {
        "tf32": False,
        "matmul_precision": "highest",
        "deterministic": False,
    }
    torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(True)
    assert arithmetic(CUDA) == {"tf32": True, "matmul_precision": "high", "deterministic": True}
    assert arithmetic(CPU) is None


def test_either_switch_of_tf32_is_seen():
    torch.backends.cuda.matmul.allow_tf32 = True
    assert arithmetic(CUDA)["tf32"]
    torch.backends.cuda.matmul.allow_tf32 = False
    assert not arithmetic(CUDA)["tf32"]
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    assert arithmetic(CUDA)["tf32"]
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    assert not arithmetic(CUDA)["tf32"]


@pytest.mark.parametrize(("setting", "fallback"), [(None, False), ("0", False), ("1", True)])
def test_the_fallback_of_apples_gpus_is_noted(monkeypatch, setting, fallback):
    monkeypatch.delenv(FALLBACK, raising=False)
    if setting is not None:
        monkeypatch.setenv(FALLBACK, setting)
    torch.set_float32_matmul_precision("high")
    expected = {
        "tf32": False,
        "matmul_precision": "high",
        "deterministic": False,
        "mps_fallback": fallback,
    }
    assert arithmetic(MPS) == expected
    assert doubt_arithmetic(MPS, torch.float32) is None


def test_tf32_is_doubted_for_float32_on_cuda_alone():
    assert doubt_arithmetic(CUDA, torch.float32) is None
    torch.set_float32_matmul_precision("high")
    told = doubt_arithmetic(CUDA, torch.float32)
    assert "about 1e-3 relative" in told
    assert "torch.set_float32_matmul_precision('highest')" in told
    assert doubt_arithmetic(CUDA, torch.bfloat16) is None
    assert doubt_arithmetic(CPU, torch.float32) is None


def test_load_warns_once_and_the_provenance_keeps_the_flags(tiny_folder, monkeypatch):
    asked = []

    def doubtful(device, dtype):
        asked.append((device, dtype))
        return "TF32 is on"

    monkeypatch.setattr(loader, "doubt_arithmetic", doubtful)
    monkeypatch.setattr(
        "interp.models.loading.provenance.arithmetic", lambda device: arithmetic(CUDA)
    )
    with pytest.warns(UserWarning, match="TF32 is on") as caught:
        model = load(str(tiny_folder("gpt2")))
    assert len(caught) == 1
    assert asked == [(CPU, torch.float32)]
    assert model.provenance["arithmetic"] == {
        "tf32": False,
        "matmul_precision": "highest",
        "deterministic": False,
    }


def test_the_cpu_has_no_such_flags(tiny_model):
    assert tiny_model("gpt2").provenance["arithmetic"] is None


def test_tf32_is_part_of_what_a_capture_is_of(tiny_folder, monkeypatch):
    """Three digits instead of seven: such activations must not continue, or be reused by, a capture
    in full float32.
    """
    model = load(str(tiny_folder("gpt2")), check=False)
    whole = identity(model)
    assert "tf32" not in whole
    torch.set_float32_matmul_precision("high")
    monkeypatch.setitem(model.provenance, "arithmetic", arithmetic(CUDA))
    assert identity(model) == {**whole, "tf32": True}
    monkeypatch.setitem(model.provenance, "dtype", "bfloat16")
    assert "tf32" not in identity(model)


@pytest.mark.parametrize("word", ["highest", "high", "medium"])
def test_what_was_told_can_be_set_again(word):
    torch.set_float32_matmul_precision(word)
    told = arithmetic(CUDA)
    torch.set_float32_matmul_precision("highest")
    set_precision(told["matmul_precision"])
    assert arithmetic(CUDA) == told


def test_what_was_told_of_the_newer_switch_can_be_set_again():
    set_precision("fp32_precision=tf32")
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def test_tf32_is_judged_by_the_bounds_of_float16():
    """The same 10 bits behind the point: a check with float32's bound would take rounding for a
    padding bug.
    """
    assert coarsest(CUDA, torch.float32) == torch.float32
    torch.set_float32_matmul_precision("high")
    assert coarsest(CUDA, torch.float32) == torch.float16
    assert coarsest(CUDA, torch.bfloat16) == torch.bfloat16
    assert coarsest(CPU, torch.float32) == torch.float32
