"""What the story model can do, measured: which reaction it expects, and what it writes."""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp.testbeds.storyworld.reactions import reactions
from interp.testbeds.storyworld.world import EMOTIONS


@torch.inference_mode()
def reaction_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    *,
    emotions: tuple[str, ...] = EMOTIONS,
    n: int = 8,
) -> Float[Tensor, "prompt emotion"]:
    """How strongly the model expects each emotion's reaction after each prompt, in nats.

    The score is the log of the mean probability of the emotion's `n` reactions (`reactions(emotion,
    n=n)`): the reaction texts are whole sentences, each scored by the sum of its tokens'
    log-probabilities given the prompt.
    """
    texts = [reaction for emotion in emotions for reaction in reactions(emotion, n=n)]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    longest = max(map(len, rows))
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    real = torch.arange(longest) < torch.tensor([[len(row)] for row in rows])
    scores = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        first = model(ids, use_cache=True)
        # transformers renamed its cache in 5.24
        cache = "cache" if "cache" in first else "past_key_values"
        first[cache].batch_repeat_interleave(len(rows))
        rest = model(padded[:, :-1], **{cache: first[cache]}).logits
        logits = torch.cat([first.logits[:, -1:].expand(len(rows), 1, -1), rest], dim=1)
        taken = logits.log_softmax(-1).gather(-1, padded[..., None])[..., 0]
        totals = (taken * real).sum(-1).view(len(emotions), n)
        scores.append(totals.logsumexp(-1) - torch.tensor(float(n)).log())
    return torch.stack(scores)


def forced_choice_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    emotions: list[str],
) -> float:
    """Share of `prompts` after which the reaction of the prompt's own emotion scores highest among
    the eight.
    """
    best = reaction_scores(model, tokenizer, prompts).argmax(-1)
    return sum(
        EMOTIONS[int(index)] == emotion for index, emotion in zip(best, emotions, strict=True)
    ) / len(prompts)
