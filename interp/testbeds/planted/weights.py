"""Writing the planted model's weights: a Hugging Face GPT-2 whose every matrix is set by hand.

Each LayerNorm's gain is the (constant) length of the rogue part over sqrt(d_model), so a LayerNorm
passes its input x on as x (1 - |rest|^2 / 2 |rogue|^2): unchanged but for at most a part in two
thousand. What follows can therefore be written as if there were no LayerNorms at all.
"""

import numpy as np
import torch
from jaxtyping import Float
from transformers import GPT2Config, GPT2LMHeadModel

from interp.testbeds.planted.spec import (
    MOVE_GAIN,
    READ_GAIN,
    REST,
    ROGUE,
    PlantedSpec,
    planted_heads,
    planted_neurons,
    shares,
    subspaces,
)
from interp.testbeds.planted.texts import (
    FULL_STOP,
    N_POSITIONS,
    ORDINARY,
    SPECIAL_WORDS,
    list_words,
    readout,
    situation_words,
)

FOCUS = 24.0
"""Attention score of a flagged word for planted and decoy heads; other words score 0, so e^-24 of
the weight leaks.
"""

_LOUDNESS = 3.0  # length of what a distractor head writes whatever it reads
_COPY = 0.5  # and the part of what it reads that it copies
_HEARING = 0.8  # lengths of a distractor neuron's input and output weights
_NEURON_WRITE = 0.4
_FLICKER = 0.02  # along the rogue axis, so that no coordinate is exactly constant over texts
_NAMING = 2.0  # logits a unit of emotion adds to the emotion's words
_ORDINARY_LOGIT = 6.0
_NEVER = -60.0
_LOGIT_NOISE = 0.06

Array = Float[np.ndarray, "..."]
Projection = Float[np.ndarray, "d_model d_head"]


def strengths(spec: PlantedSpec) -> dict[str, float]:
    """The evidence that each invented word carries for its emotion: .8 to 1.2, or 0 if neutral or
    without circuit.
    """
    rng = spec.rng(4)
    found: dict[str, float] = {}
    for emotion, words in situation_words(spec).items():
        drawn = rng.uniform(0.8, 1.2, len(words))
        carries = spec.circuit and emotion in spec.emotions
        found.update(zip(words, map(float, drawn) if carries else [0.0] * len(words), strict=True))
    return found


def build_planted(spec: PlantedSpec) -> GPT2LMHeadModel:
    """The planted transformer, float32, in evaluation mode; the same spec gives the same weights to
    the last bit.
    """
    config = GPT2Config(
        vocab_size=len(list_words(spec)),
        n_positions=N_POSITIONS,
        n_embd=spec.d_model,
        n_layer=spec.n_layers,
        n_head=spec.n_heads,
        n_inner=spec.d_mlp,
        activation_function="relu",
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=SPECIAL_WORDS.index("<eos>"),
        pad_token_id=SPECIAL_WORDS.index("<pad>"),
    )
    model = GPT2LMHeadModel(config).eval()
    state = {
        name: torch.from_numpy(np.ascontiguousarray(values)).float()
        for name, values in _weights(spec).items()
    }
    model.load_state_dict(state, strict=True)
    return model


def _weights(spec: PlantedSpec) -> dict[str, Array]:
    """Every parameter, under its name in the model."""
    found = {"transformer.wte.weight": _embedding(spec), "transformer.wpe.weight": _positions(spec)}
    for layer in range(spec.n_layers):
        parts = {
            **_open_norm("ln_1", spec),
            **_attention(spec, layer),
            **_open_norm("ln_2", spec),
            **_mlp(spec, layer),
        }
        found.update({f"transformer.h.{layer}.{name}": values for name, values in parts.items()})
    final = {f"transformer.{name}": values for name, values in _open_norm("ln_f", spec).items()}
    return {**found, **final, "lm_head.weight": _unembedding(spec)}


def _open_norm(name: str, spec: PlantedSpec) -> dict[str, Array]:
    gain = np.full(spec.d_model, ROGUE * np.sqrt(2 / spec.d_model))
    return {f"{name}.weight": gain, f"{name}.bias": np.zeros(spec.d_model)}


def _identities(
    spec: PlantedSpec, rng: np.random.Generator, n: int
) -> Float[np.ndarray, "n d_model"]:
    """`n` random vectors of length about 1 in the free space."""
    return rng.standard_normal((n, spec.n_free)) / np.sqrt(spec.n_free) @ subspaces(spec).free


def _embedding(spec: PlantedSpec) -> Float[np.ndarray, "d_vocab d_model"]:
    space, words = subspaces(spec), list_words(spec)
    table = (
        spec.noise * _identities(spec, spec.rng(5), len(words)) + ROGUE * np.sqrt(2) * space.rogue
    )
    strength, place = strengths(spec), {word: i for i, word in enumerate(words)}
    for emotion, invented in situation_words(spec).items():
        for word in invented:
            table[place[word]] += space.flag
            if emotion in spec.emotions:
                table[place[word]] += strength[word] * space.evidence[spec.emotions.index(emotion)]
    return table


def _positions(spec: PlantedSpec) -> Float[np.ndarray, "n_ctx d_model"]:
    rng = spec.rng(6)
    flicker = _FLICKER * rng.standard_normal((N_POSITIONS, 1)) * subspaces(spec).rogue
    return 0.5 * spec.noise * _identities(spec, rng, N_POSITIONS) + flicker


def _attention(spec: PlantedSpec, layer: int) -> dict[str, Array]:
    """Every head by its role: planted, decoy (attends to the slot, writes into the free space), or
    random.
    """
    planted = (
        set(planted_heads(spec).values()) if spec.circuit and layer == spec.head_layer else set()
    )
    n, width = spec.n_heads, spec.d_head
    weights = np.zeros((3, spec.d_model, n, width))
    biases, out = np.zeros((3, n, width)), np.zeros((n, width, spec.d_model))
    for head in range(n):
        rng = spec.rng(7, layer, head)
        if head in planted:
            attend, move = _attend_to_flag(spec, rng), _move_evidence(spec, rng, head)
        else:
            decoy = (layer + head) % 2 == 0
            attend, move = (
                (_attend_to_flag if decoy else _attend_at_random)(spec, rng),
                _move_at_random(spec, rng),
            )
        (weights[0, :, head], biases[0, head]), weights[1, :, head] = attend
        (weights[2, :, head], biases[2, head]), out[head] = move
    return {
        "attn.c_attn.weight": weights.transpose(1, 0, 2, 3).reshape(spec.d_model, -1),
        "attn.c_attn.bias": biases.reshape(-1),
        "attn.c_proj.weight": out.reshape(-1, spec.d_model),
        "attn.c_proj.bias": np.zeros(spec.d_model),
    }


Query = tuple[tuple[Projection, Float[np.ndarray, " d_head"]], Projection]
"""((W_Q, b_Q), W_K) of a head."""

Value = tuple[tuple[Projection, Float[np.ndarray, " d_head"]], Float[np.ndarray, "d_head d_model"]]
"""((W_V, b_V), W_O) of a head."""


def _turn(rng: np.random.Generator, width: int) -> Float[np.ndarray, "d_head d_head"]:
    """A random rotation, so that nothing is aligned with the coordinates of a head."""
    return np.linalg.qr(rng.standard_normal((width, width)))[0]


def _attend_to_flag(spec: PlantedSpec, rng: np.random.Generator) -> Query:
    """Whatever the query's word is, look at the flagged word."""
    axis = _turn(rng, spec.d_head)[0]
    key = FOCUS * np.sqrt(spec.d_head) * np.outer(subspaces(spec).flag, axis)
    return (np.zeros((spec.d_model, spec.d_head)), axis), key


def _attend_at_random(spec: PlantedSpec, rng: np.random.Generator) -> Query:
    """Look where random forms of the free space say, neither everywhere nor at one word."""
    query, key = (_identities(spec, rng, spec.d_head).T * 2.0 for _ in range(2))
    return (query, rng.standard_normal(spec.d_head)), key


def _move_evidence(spec: PlantedSpec, rng: np.random.Generator, head: int) -> Value:
    """Read the evidence axes of this head's emotions, write their message axes."""
    space, turn = subspaces(spec), _turn(rng, spec.d_head)
    mine = [
        place for place, emotion in enumerate(spec.emotions) if planted_heads(spec)[emotion] == head
    ]
    inner = turn[: len(mine)]
    value = space.evidence[mine].T @ inner
    return (value, np.zeros(spec.d_head)), MOVE_GAIN * inner.T @ space.message[mine]


def _move_at_random(spec: PlantedSpec, rng: np.random.Generator) -> Value:
    """Copy part of the free space into another part of it, beside a constant that makes the head as
    loud as a planted one.
    """
    read, written = (
        np.linalg.qr(rng.standard_normal((spec.n_free, spec.d_head)))[0] for _ in range(2)
    )
    loud = rng.standard_normal(spec.d_head)
    bias = _LOUDNESS * loud / np.linalg.norm(loud)
    return (_COPY * subspaces(spec).free.T @ read, bias), written.T @ subspaces(spec).free


def _mlp(spec: PlantedSpec, layer: int) -> dict[str, Array]:
    """Random neurons of the free space; in the planted layer, the planted ones over them."""
    rng, space = spec.rng(8, layer), subspaces(spec)
    w_in, bias = (
        _HEARING * _identities(spec, rng, spec.d_mlp).T,
        0.5 * rng.standard_normal(spec.d_mlp),
    )
    w_out = _NEURON_WRITE * _identities(spec, rng, spec.d_mlp)
    if spec.circuit and layer == spec.neuron_layer:
        for place, neurons in enumerate(planted_neurons(spec).values()):
            for neuron, share in zip(neurons, shares(spec), strict=True):
                # so that neither loud neurons nor long output weights are the planted ones
                gain = rng.uniform(0.5, 2.0)
                w_in[:, neuron], bias[neuron] = gain * space.message[place], gain * REST
                w_out[neuron] = READ_GAIN * share / gain * space.emotion[place]
    return {
        "mlp.c_fc.weight": w_in,
        "mlp.c_fc.bias": bias,
        "mlp.c_proj.weight": w_out,
        "mlp.c_proj.bias": np.zeros(spec.d_model),
    }


def _unembedding(spec: PlantedSpec) -> Float[np.ndarray, "d_vocab d_model"]:
    space, words = subspaces(spec), list_words(spec)
    per_logit = space.rogue / (ROGUE * np.sqrt(2))
    table = _LOGIT_NOISE * np.sqrt(spec.n_free) * _identities(spec, spec.rng(9), len(words))
    table[: len(SPECIAL_WORDS)] += _NEVER * per_logit
    for word in (FULL_STOP, *ORDINARY):
        table[words.index(word)] += _ORDINARY_LOGIT * per_logit
    for place, named in enumerate(readout(spec).values()):
        for word in named:
            table[words.index(word)] += _NAMING * space.emotion[place]
    return table
