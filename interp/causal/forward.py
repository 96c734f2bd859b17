"""Texts with a readout's suffix as tokens, batches of them by token budget, and one forward pass
that reads and edits.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.interventions import Intervention, applied
from interp.causal.readout import Readout
from interp.errors import DataError
from interp.models import LanguageModel
from interp.models.texts.conversations import Prompt, followed_by, prompt_of, text_of
from interp.models.texts.ends import content_positions, last_content, refuse_ended
from interp.models.texts.tokens import Tokens
from interp.sites import Site
from stimuli.battery import Stimulus

TOKEN_BUDGET = 2048
"""Tokens of one forward pass, with padding, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of a text and what stands behind it (a suffix; the opening of a turn). No end token
    closes the row.

    `end` is the position of the text's last token (`interp.models.texts.ends`), `first` that of its
    first: before it stand tokens that the tokenizer, or a chat template, puts there. `spans` are
    the characters of the text (and suffix) that each token covers.
    """

    tokens: tuple[int, ...]
    end: int
    first: int = 0
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def story(self) -> tuple[int, ...]:
        """The tokens of the text alone (with what the tokenizer, or a chat template, puts before
        it).
        """
        return self.tokens[: self.end + 1]


class Pass(NamedTuple):
    """What one forward pass gave: logits behind each row's last token, and the activations of the
    sites asked for.

    `origin` is, per row, the column of its position 0 in those activations (negative when the pass
    began behind it). `behind` reads on behind the rows, where the pass was asked to allow it
    (`interp.causal.prefix.Behind`).
    """

    logits: Float[Tensor, "row d_vocab"]
    sites: dict[Site, Tensor]
    origin: Int[Tensor, " row"]
    behind: Any = None

    def at(self, site: Site, positions: Sequence[int]) -> Float[Tensor, " row *site"]:
        """A site's activations at one absolute position a row."""
        x = self.sites[site]
        return x[torch.arange(len(x)), self.origin + torch.tensor(positions)]


def encode_stimuli(
    model: LanguageModel, stimuli: Sequence[Stimulus], readout: Readout
) -> list[Encoded]:
    """Each stimulus's text (or conversation) and suffix, tokenised as one string. Nothing closes
    it: what tokenizer or chat template puts behind is cut off, and blanks at its end. Raises
    `DataError` for a text that has no token of its own, or that ends in an end token.
    """
    names = [f"stimulus {stimulus.id!r}" for stimulus in stimuli]
    prompts = [prompt_of(stimulus.text, stimulus.fields, name=stimulus.id) for stimulus in stimuli]
    suffixes = [readout.suffix_for(stimulus) for stimulus in stimuli]
    rows = model.encode(prompts, ids=[stimulus.id for stimulus in stimuli], suffixes=suffixes)
    encoded = []
    for name, prompt, suffix, row in zip(names, prompts, suffixes, rows, strict=True):
        end = last_content(text_of(prompt), row.spans, name=name)
        stop = last_content(text_of(followed_by(prompt, suffix)), row.spans, name=name)
        first = int(content_positions(text_of(prompt), row.spans)[0])
        covered = tuple(row.spans[: stop + 1])
        encoded.append(Encoded(tuple(row.ids[: stop + 1]), end, first, covered))
    refuse_ended(model.tokenizer, [row.tokens for row in encoded], model.end_tokens, names=names)
    return encoded


def open_prompts(model: LanguageModel, prompts: Sequence[Prompt | Stimulus]) -> list[Encoded]:
    """Prompts as they are continued: nothing closes them, and under a chat template the assistant's
    turn is open. A stimulus is its text, or its conversation. Warns of words that the vocabulary
    lacks. Raises `DataError` for a blank prompt, and as `LanguageModel.encode`.
    """
    plain = [_plain(prompt) for prompt in prompts]
    for at, prompt in enumerate(plain):
        if isinstance(prompt, str) and not prompt.strip():
            raise DataError(f"text {at} is blank: write the words that are to be continued.")
    encoded = model.encode(plain, open_turn=True)
    _warn_of_unknown(model, plain, encoded)
    found = []
    for at, row in enumerate(encoded):
        end = last_content(text_of(plain[at]), row.spans, name=f"text {at}")
        found.append(Encoded(tuple(row.ids), end))
    return found


def listed(
    prompts: Prompt | Stimulus | Sequence[Prompt | Stimulus],
) -> Sequence[Prompt | Stimulus]:
    """Prompts as a list, where one may have been given alone: a text, a conversation, a
    stimulus.
    """
    if isinstance(prompts, str | Stimulus):
        return [prompts]
    if len(prompts) and all(isinstance(one, Mapping) for one in prompts):
        return [cast(Prompt, prompts)]
    return cast(Sequence[Prompt | Stimulus], prompts)


def _warn_of_unknown(
    model: LanguageModel, prompts: Sequence[Prompt], rows: Sequence[Tokens]
) -> None:
    """Warn of the words that became the tokenizer's unknown token, which the model cannot read."""
    unknown = model.tokenizer.unk_token_id
    lost = {
        text_of(prompt)[start:end]: None
        for prompt, row in zip(prompts, rows, strict=True)
        for token, (start, end) in zip(row.ids, row.spans, strict=True)
        if token == unknown and end > start
    }
    if lost:
        named = ", ".join(map(repr, list(lost)[:10]))
        warnings.warn(
            f"the vocabulary of {model.name} lacks {len(lost)} of the words ({named}): it reads "
            f"{model.tokenizer.unk_token!r} in their place.",
            stacklevel=4,
        )


def _plain(prompt: Prompt | Stimulus) -> Prompt:
    if isinstance(prompt, Stimulus):
        return prompt_of(prompt.text, prompt.fields, name=prompt.id)
    return prompt


def batches(
    rows: Sequence[Encoded], *, budget: int = TOKEN_BUDGET, sizes: Sequence[int] | None = None
) -> list[Int[np.ndarray, " row"]]:
    """Indices of `rows` in batches, each of at most `budget` tokens with padding (or one row); rows
    of similar length come together, or of similar `sizes` where these are given.
    """
    order = sorted(
        range(len(rows)), key=lambda i: len(rows[i].tokens) if sizes is None else sizes[i]
    )
    found: list[list[int]] = []
    for i in order:
        longest = max((len(rows[j].tokens) for j in [i, *found[-1]]), default=0) if found else 0
        if not found or (len(found[-1]) + 1) * longest > budget:
            found.append([])
        found[-1].append(i)
    return [np.array(batch) for batch in found]


def run_forward(
    model: LanguageModel,
    rows: Sequence[Encoded],
    *,
    interventions: Sequence[Intervention] = (),
    read: Sequence[Site] = (),
    at: Int[Tensor, "row kept"] | None = None,
) -> Pass:
    """One right-padded forward pass over `rows` under `interventions`; the `read` sites are
    recorded after the edits, at all positions or at those positions of each row that `at` names.
    """
    batch = model.pad([row.tokens for row in rows], side="right")
    kept: dict[Site, Tensor] = {}
    with applied(model, interventions, lengths=batch.lengths):
        logits = model.last_logits(batch, hooks=readers(read, kept, at=at))
    require_finite(model, logits, rows)
    return Pass(logits, kept, torch.zeros(len(rows), dtype=torch.long))


def readers(
    sites: Sequence[Site], kept: dict[Site, Tensor], *, at: Int[Tensor, "row kept"] | None = None
) -> list[tuple[str, Callable[..., None]]]:
    """Hooks that put what passes at `sites` into `kept`: all of it, or the columns `at` of each
    row.
    """

    def reader(site: Site) -> Callable[..., None]:
        def keep(x: Tensor, hook: Any = None) -> None:
            whole = x if site.head is None else x[:, :, site.head]
            if at is None:
                kept[site] = whole
            else:
                kept[site] = whole[torch.arange(len(whole))[:, None], at.to(whole.device)]

        return keep

    return [(site.hook, reader(site)) for site in sites]


def require_finite(
    model: LanguageModel, logits: Float[Tensor, "row d_vocab"], rows: Sequence[Encoded]
) -> None:
    """Raise `DataError` naming the first text on which the logits are not finite."""
    broken = (~logits.isfinite().all(dim=-1)).nonzero().flatten().tolist()
    if broken:
        start = model.decode(rows[broken[0]].tokens)[:60]
        raise DataError(
            f"{model.name} gives logits that are not finite on {len(broken)} texts, the first "
            f"{start!r}: try float32."
        )
