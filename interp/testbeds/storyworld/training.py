"""Training the story model: from a seed to a Hugging Face folder, resumable, with nothing read but
the story world.

Step `i` sees the batch that the seed and `i` decide, so a run that was cut and resumed takes the
same steps as one that was not. Model and optimiser live in one safetensors checkpoint; the folder
is written when the last step is done.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from interp.files import make_folder, write_atomic
from interp.testbeds.storyworld.checkpoints import State, read_checkpoint, write_checkpoint
from interp.testbeds.storyworld.lessons import lesson
from interp.testbeds.storyworld.recipe import Recipe, by_muon
from interp.testbeds.storyworld.tokenizer import CONTEXT, encode_story, save_tokenizer, vocabulary

REACTION_WEIGHT, FIRST_WEIGHT = 20.0, 60.0
"""How much a token of a reaction counts in the loss, and its first, where a token of the story
counts 1.
"""

_INITIAL_SPREAD = 0.06
_MATCHING = 1.5
_GROUP = 4
_PAD, _BOS, _EOS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run did: mean loss of the first and the last 20 steps taken (nats per
    weighted token), tokens, seconds.
    """

    folder: str
    steps: int
    tokens: int
    seconds: float
    first_loss: float
    last_loss: float


def train(out: Path, recipe: Recipe, *, checkpoint_every: int = 250) -> Trained:
    """Train by `recipe` and write the Hugging Face folder `out`; the same call resumes a run that
    was cut.

    Raises `ArtefactError` (exit 4) when `out` holds the checkpoint of another recipe or a damaged
    one, `ResourceError` (exit 5) when the folder cannot be written.
    """
    make_folder(out)
    state, checkpoint = _start(recipe), out / "checkpoint.safetensors"
    if checkpoint.exists():
        read_checkpoint(state, recipe, checkpoint)
    losses: list[float] = []
    began, before = time.monotonic(), state.seconds
    for step, tokens, weights in _batches(recipe, state.step):
        losses.append(_take_step(state, recipe, tokens, weights))
        state.step, state.seconds = step + 1, before + time.monotonic() - began
        _tell(state, recipe, losses)
        if state.step % checkpoint_every == 0:
            write_checkpoint(state, recipe, checkpoint)
    save_folder(state.model, out)
    checkpoint.unlink(missing_ok=True)
    first, last = losses[:20] or [float("nan")], losses[-20:] or [float("nan")]
    return Trained(
        str(out),
        state.step,
        state.tokens,
        state.seconds,
        sum(first) / len(first),
        sum(last) / len(last),
    )


def save_folder(model: LlamaForCausalLM, out: Path) -> None:
    """Write config, weights (safetensors, float32) and tokenizer, each atomically."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    config = {**model.config.to_dict(), "architectures": ["LlamaForCausalLM"]}
    write_atomic(
        out / "config.json", (json.dumps(config, indent=2, sort_keys=True) + "\n").encode("utf-8")
    )
    generation = {"bos_token_id": _BOS, "eos_token_id": _EOS, "pad_token_id": _PAD}
    write_atomic(
        out / "generation_config.json", (json.dumps(generation, indent=2) + "\n").encode("utf-8")
    )
    write_atomic(out / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    save_tokenizer(out)


def build_untrained(recipe: Recipe) -> LlamaForCausalLM:
    """The untrained model: a Llama with a head per key, rotary positions, and untied embeddings.

    In half of the heads from the third block on, keys start as the queries do, so that each name
    begins by looking at its own earlier mentions, where it stands who did what to whom.
    """
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=_BOS,
        eos_token_id=_EOS,
        pad_token_id=_PAD,
        initializer_range=_INITIAL_SPREAD,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(std=0.5)
        for block in list(model.model.layers)[2:]:
            rows = slice(0, recipe.d_model // 2)
            block.self_attn.q_proj.weight[rows].mul_(_MATCHING)
            block.self_attn.k_proj.weight[rows] = block.self_attn.q_proj.weight[rows]
    return model


def _batches(
    recipe: Recipe, start: int
) -> Iterator[tuple[int, Int[Tensor, "story pos"], Float[Tensor, "story pos"]]]:
    """The steps from `start` on: token ids padded on the right, and the weight of each token in the
    loss (0 on pads).

    Tales are drawn for a few steps at once and sorted by length, so that little of a batch is
    padding.
    """
    size = recipe.batch
    for group in range(start // _GROUP, -(-recipe.steps // _GROUP)):
        key = f"{recipe.seed}:{group}"
        rng = random.Random(key)
        tales = lesson(rng, key, done=group * _GROUP / recipe.steps, n=size * _GROUP)
        rows = sorted(map(_encode, tales), key=lambda row: len(row[0]))[: size * _GROUP]
        for place, part in enumerate(rng.sample(range(_GROUP), _GROUP)):
            step = group * _GROUP + place
            if start <= step < recipe.steps:
                yield step, *_pad(rows[part * size : (part + 1) * size])


def _encode(tale: list[tuple[str, str]]) -> tuple[list[int], list[float]]:
    """Token ids with `<bos>` and `<eos>`, and each token's weight in the loss."""
    ids, weights = [_BOS], [1.0]
    for cue, reaction in tale:
        before, after = encode_story(cue), encode_story(reaction)
        ids += before + after
        weights += [1.0] * len(before) + [FIRST_WEIGHT] + [REACTION_WEIGHT] * (len(after) - 1)
    return [*ids, _EOS], [*weights, 1.0]


def _pad(
    rows: list[tuple[list[int], list[float]]],
) -> tuple[Int[Tensor, "story pos"], Float[Tensor, "story pos"]]:
    longest = max(len(ids) for ids, _ in rows)
    tokens = torch.tensor([ids + [_PAD] * (longest - len(ids)) for ids, _ in rows])
    weights = torch.tensor([row + [0.0] * (longest - len(row)) for _, row in rows])
    return tokens, weights


def _start(recipe: Recipe) -> State:
    model = build_untrained(recipe).train()
    hidden = [parameter for name, parameter in model.named_parameters() if by_muon(name, parameter)]
    others = [
        parameter for name, parameter in model.named_parameters() if not by_muon(name, parameter)
    ]
    muon = torch.optim.Muon(hidden, lr=recipe.rate, weight_decay=recipe.weight_decay)
    adam = torch.optim.AdamW(
        others, lr=recipe.embedding_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    return State(model, muon, adam)


def _pace(recipe: Recipe, step: int) -> float:
    """The learning rate as a share of its height: up in a line, flat, and down in a line to a
    hundredth.
    """
    done = (step + 1) / recipe.steps
    return max(0.01, min(1.0, done / recipe.warmup, (1.0 - done) / recipe.decay))


def _take_step(
    state: State,
    recipe: Recipe,
    tokens: Int[Tensor, "story pos"],
    weights: Float[Tensor, "story pos"],
) -> float:
    pace = _pace(recipe, state.step)
    state.muon.param_groups[0]["lr"] = pace * recipe.rate
    state.adam.param_groups[0]["lr"] = pace * recipe.embedding_rate
    logits = state.model(tokens[:, :-1], use_cache=False).logits
    losses = functional.cross_entropy(
        logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    )
    loss = (losses * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
    state.muon.step()
    state.adam.step()
    state.model.zero_grad()
    state.tokens += int((weights > 0).sum())
    return float(loss.detach())


def _tell(state: State, recipe: Recipe, losses: list[float]) -> None:
    """A line on stderr every 50 steps: loss, rate, time left."""
    if state.step % 50 and state.step != recipe.steps:
        return
    pace = state.seconds / state.step
    recent = losses[-50:]
    print(
        f"step {state.step}/{recipe.steps}  loss {sum(recent) / len(recent):.3f}  "
        f"{state.tokens / state.seconds:,.0f} tokens/s  "
        f"{pace * (recipe.steps - state.step) / 60:.1f} min left",
        file=sys.stderr,
        flush=True,
    )
