"""Sparse autoencoders on disk: one safetensors file, or a folder as SAELens writes it.

A file holds the tensors `W_enc` [d_model, d_sae], `b_enc` [d_sae], `W_dec` [d_sae, d_model] and
`b_dec` [d_model], and for jumprelu `threshold` [d_sae], all of float32 or float16. Its metadata
(texts) may say `activation` (relu, topk, jumprelu), `k`, `apply_b_dec_to_input` (true, false) and
`hook_name`, the site. What says no `apply_b_dec_to_input` takes b_dec off first.

A folder holds the same tensors in `sae_weights.safetensors`, and in `cfg.json` what SAELens says of
them. What would change the numbers and is not done here is refused, not passed over.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from interp.analysis.autoencoders import ACTIVATIONS, SparseAutoencoder
from interp.errors import ArtefactError, UsageError
from interp.files import open_regular, read_regular

WEIGHTS, SETTINGS = "sae_weights.safetensors", "cfg.json"
"""The two files of a folder."""

TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")

_MOST = 1 << 24
_ARCHITECTURES = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu"}
_NOT_DONE = {
    "normalize_activations": ("none", None, "", False),
    "reshape_activations": ("none", None, ""),
    "finetuning_scaling_factor": (False, None),
    "rescale_acts_by_decoder_norm": (False, None),
    "hook_head_index": (None,),
}
"""Settings of a folder that change the numbers, each with the values that change nothing."""


def read_autoencoder(
    path: Path, *, activation: str | None = None, k: int | None = None
) -> SparseAutoencoder:
    """The autoencoder in a file or a folder. `activation` and `k` are for a file that does not say
    them.

    Raises `ArtefactError`, naming file and field, for what is missing, not finite, of another shape
    or not done here; `UsageError` where `activation` or `k` is said twice, and differently.
    """
    folder = path.is_dir()
    weights = path / WEIGHTS if folder else path
    tensors, metadata = _tensors(weights)
    told = _of_settings(path / SETTINGS) if folder else _of_metadata(metadata, weights)
    for name, said in (("activation", activation), ("k", k)):
        if said is not None and told.get(name) not in (None, said):
            raise UsageError(f"{path} says {name} {told[name]}, and --{name} {said}: leave it out.")
        told[name] = told.get(name) if said is None else said
    if told["activation"] is None:
        raise ArtefactError(
            f"{path} does not say its activation (metadata `activation`): name it, --activation "
            f"{'|'.join(ACTIVATIONS)}."
        )
    for name in ("d_in", "d_sae"):
        axis, stated = tensors["W_enc"].shape[name == "d_sae"], told.pop(name, None)
        if stated not in (None, axis):
            raise ArtefactError(f"{path}: {name} is {stated} in {SETTINGS}, and {axis} in W_enc.")
    every: dict[str, Any] = {**tensors, **told}
    return SparseAutoencoder(**every, name=str(path))


def _tensors(path: Path) -> tuple[dict[str, np.ndarray], Mapping[str, str]]:
    """The tensors that are needed, and what the file says of itself."""
    try:
        open_regular(path).close()
        with safe_open(str(path), framework="np") as file:
            there = list(file.keys())
            lacking = [name for name in TENSORS if name not in there]
            if lacking:
                raise ArtefactError(
                    f"{path} has no {', '.join(lacking)}: expected {', '.join(TENSORS)}; it has "
                    f"{', '.join(sorted(there)[:12]) or 'nothing'}."
                )
            names = [*TENSORS, *(["threshold"] if "threshold" in there else [])]
            found = {name: _numbers(file, name, path) for name in names}
            return found, file.metadata() or {}
    except OSError as error:
        raise ArtefactError(f"cannot read {path}: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise ArtefactError(f"{path} is no safetensors file: {error}.") from error


def _numbers(file: Any, name: str, path: Path) -> np.ndarray:
    """One tensor in float32; a matrix or a vector, as its name wants it."""
    try:
        found: np.ndarray = file.get_tensor(name)
    except (TypeError, ValueError, AttributeError) as error:
        raise ArtefactError(
            f"{path}: {name} is of a type that numpy lacks ({error}): convert it to float32."
        ) from error
    if not np.issubdtype(found.dtype, np.floating) or found.ndim != (2 if name[0] == "W" else 1):
        raise ArtefactError(
            f"{path}: {name} holds {found.dtype} of the shape {found.shape}; expected a "
            f"{'matrix' if name[0] == 'W' else 'vector'} of floats."
        )
    return found.astype(np.float32)


def _of_metadata(said: Mapping[str, str], path: Path) -> dict[str, Any]:
    told: dict[str, Any] = {"activation": said.get("activation")}
    if "k" in said:
        if not said["k"].isdecimal():
            raise ArtefactError(f"{path}: metadata k is {said['k']!r}; expected a whole number.")
        told["k"] = int(said["k"])
    off = said.get("apply_b_dec_to_input", "true").lower()
    if off not in ("true", "false"):
        raise ArtefactError(
            f"{path}: metadata apply_b_dec_to_input is {off!r}; expected true or false."
        )
    return {**told, "apply_b_dec_to_input": off == "true", "hook_name": said.get("hook_name", "")}


def _of_settings(path: Path) -> dict[str, Any]:
    """What a folder's settings come to. SAELens has moved some of them in the course of time."""
    try:
        said = json.loads(read_regular(path, most=_MOST))
    except OSError as error:
        raise ArtefactError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{path} is no JSON: {error}.") from error
    if not isinstance(said, dict):
        raise ArtefactError(f"{path} holds a {type(said).__name__}; expected an object.")
    said = {**(said.get("metadata") or {}), **said}
    for name, harmless in _NOT_DONE.items():
        if name in said and said[name] not in harmless:
            raise ArtefactError(
                f"{path}: {name} is {said[name]!r}, which is not done here: its features would "
                "come out wrong. Fold it into the weights, or choose another autoencoder."
            )
    kind, more = _activation(said, path), said.get("activation_fn_kwargs") or {}
    k = said.get("k", more.get("k")) if kind == "topk" else None
    if kind == "topk" and not (isinstance(k, int) and not isinstance(k, bool)):
        raise ArtefactError(f"{path}: k is {k!r}; topk needs a whole number.")
    return {
        "activation": kind,
        "k": k,
        "apply_b_dec_to_input": bool(said.get("apply_b_dec_to_input", True)),
        "hook_name": str(said.get("hook_name") or ""),
        **{name: said.get(name) for name in ("d_in", "d_sae")},
    }


def _activation(said: Mapping[str, Any], path: Path) -> str:
    """What acts: the architecture says it, and of a standard one the activation's own name may say
    topk.
    """
    architecture = said.get("architecture", "standard")
    if architecture not in _ARCHITECTURES:
        raise ArtefactError(
            f"{path}: architecture is {architecture!r}; read here are {', '.join(_ARCHITECTURES)}."
        )
    named = said.get("activation_fn_str", said.get("activation_fn", "relu"))
    if architecture == "standard" and named not in ("relu", "topk"):
        raise ArtefactError(f"{path}: activation_fn is {named!r}; read here are relu and topk.")
    return "topk" if named == "topk" else _ARCHITECTURES[architecture]
