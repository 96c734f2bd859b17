"""Checkpoints of a training run: written now and then, and gone on from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from transformers import LlamaForCausalLM

from interp.errors import ArtefactError
from interp.files import write_atomic
from interp.testbeds.storyworld.recipe import Recipe, by_muon


@dataclass(slots=True)
class State:
    """A training run at a step: its model, its optimisers, and what it has read so far."""

    model: LlamaForCausalLM
    muon: torch.optim.Muon
    adam: torch.optim.AdamW
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


def write_checkpoint(state: State, recipe: Recipe, path: Path) -> None:
    """Write the run as it stands, atomically."""
    tensors = {
        f"model.{name}": tensor.contiguous() for name, tensor in state.model.state_dict().items()
    }
    for name, parameter in state.model.named_parameters():
        for key, value in (state.muon.state[parameter] or state.adam.state[parameter]).items():
            tensors[f"optimiser.{name}.{key}"] = value
    progress = {"step": state.step, "tokens": state.tokens, "seconds": state.seconds}
    write_atomic(
        path,
        save(
            tensors,
            metadata={"recipe": json.dumps(asdict(recipe)), "progress": json.dumps(progress)},
        ),
    )


def read_checkpoint(state: State, recipe: Recipe, path: Path) -> None:
    """Bring `state` to where the run in `path` stood; raises `ArtefactError` for another recipe."""
    try:
        with safe_open(path, framework="pt") as stored:
            notes = stored.metadata() or {}
            names = list(stored.keys())  # not a mapping
            tensors = {name: stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"{path} is damaged ({error}): delete it to start anew.") from error
    if json.loads(notes.get("recipe", "null")) != asdict(recipe):
        raise ArtefactError(
            f"{path} belongs to another recipe ({notes.get('recipe')}): choose another --out or "
            "delete it."
        )
    progress: dict[str, Any] = json.loads(notes["progress"])
    state.step, state.tokens, state.seconds = (
        progress["step"],
        progress["tokens"],
        progress["seconds"],
    )
    state.model.load_state_dict(
        {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    )
    for name, parameter in state.model.named_parameters():
        muon = by_muon(name, parameter)
        keys = ("momentum_buffer",) if muon else ("step", "exp_avg", "exp_avg_sq")
        (state.muon if muon else state.adam).state[parameter] = {
            key: tensors[f"optimiser.{name}.{key}"] for key in keys
        }
