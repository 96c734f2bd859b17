"""Texts with a neutral continuation behind them: what a site holds at the text's last token, and k
tokens behind it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from interp.causal.forward import Encoded, batches, run_forward
from interp.errors import StatisticsError
from interp.models import LanguageModel
from interp.models.texts.conversations import followed_by, prompt_of, text_of
from interp.models.texts.ends import last_content
from interp.models.texts.tokens import encode_texts
from interp.progress import track
from interp.sites import Site
from stimuli.battery import Stimulus

_BEHIND = 4
"""Tokens of a continuation that stay behind the last one that is read, at least."""


class Continued(NamedTuple):
    """What a site holds at each text's last token (offset 0) and at `offsets` behind it.

    `same` says of each text that its continuation became the same tokens as behind most texts: a
    tokenizer may join a text's end with what follows.
    """

    offsets: tuple[int, ...]
    states: Float[np.ndarray, "text offset d_model"]
    same: Bool[np.ndarray, " text"]


def read_continued(
    model: LanguageModel,
    stimuli: Sequence[Stimulus],
    continuations: Sequence[str],
    *,
    site: Site,
    offsets: Sequence[int],
) -> Continued:
    """One pass over each text and the continuation that is put behind it, read at all offsets.

    `continuations` holds one for each text. It is cut where the context of the model ends behind
    the longest text, and `offsets` that lie beyond it are left out. In a conversation it stands
    behind the last content, in the same turn. Raises `StatisticsError` where no offset is left;
    else as `LanguageModel.encode` and `ends.last_content`.
    """
    prompts = [prompt_of(one.text, one.fields, name=one.id) for one in stimuli]
    names = [one.id for one in stimuli]
    longest = max(len(row.ids) for row in model.encode(prompts, ids=names))
    most = min(model.dims.n_ctx - longest, max(offsets) + _BEHIND)
    short = {text: _cut(model, text, most) for text in dict.fromkeys(continuations)}
    if not all(text.strip() for text in short.values()):
        raise _no_room(model, longest)
    suffixes = [short[text] for text in continuations]
    rows, behind = [], []
    for name, prompt, suffix, row in zip(
        names, prompts, suffixes, model.encode(prompts, ids=names, suffixes=suffixes), strict=True
    ):
        end = last_content(text_of(prompt), row.spans, name=name)
        stop = last_content(text_of(followed_by(prompt, suffix)), row.spans, name=name)
        rows.append(Encoded(tuple(row.ids[: stop + 1]), end))
        behind.append(stop - end)
    kept = tuple(k for k in offsets if 0 < k <= min(behind))
    if not kept:
        raise _no_room(model, longest)
    whole = (0, *kept)
    return Continued(
        whole, _states(model, rows, site, whole), same_behind(rows, continuations, kept[-1])
    )


def _no_room(model: LanguageModel, longest: int) -> StatisticsError:
    return StatisticsError(
        f"the context of {model.name} ({model.dims.n_ctx} tokens) has no room for a continuation "
        f"behind the longest text ({longest} tokens): use shorter texts."
    )


def _cut(model: LanguageModel, text: str, most: int) -> str:
    """As many whole words of a continuation as `most` tokens hold, behind a space."""
    (tokens,) = encode_texts(model.tokenizer, [f" {text}"], names=[text[:20]], allow_special=True)
    if len(tokens.ids) <= most:
        return f" {text}"
    end = max((end for _, end in tokens.spans[: max(most, 0)]), default=0)
    return f" {text}"[:end].rpartition(" ")[0]


def _states(
    model: LanguageModel, rows: Sequence[Encoded], site: Site, offsets: Sequence[int]
) -> Float[np.ndarray, "text offset d_model"]:
    found = np.empty((len(rows), len(offsets), model.dims.d_model), dtype=np.float32)
    for batch in track(batches(rows), "persistence", unit="batch"):
        mine = [rows[at] for at in batch.tolist()]
        at = torch.tensor([[row.end + k for k in offsets] for row in mine])
        read = run_forward(model, mine, read=[site], at=at).sites[site]
        found[batch] = read.float().cpu().numpy()
    return found


def same_behind(
    rows: Sequence[Encoded], continuations: Sequence[str], last: int
) -> Bool[np.ndarray, " text"]:
    """Whether each text is followed by the tokens, `last` of them, by which most texts with the
    same continuation are followed.
    """
    tokens = [row.tokens[row.end + 1 : row.end + 1 + last] for row in rows]
    usual = {
        text: Counter(
            own for own, behind in zip(tokens, continuations, strict=True) if behind == text
        ).most_common(1)[0][0]
        for text in dict.fromkeys(continuations)
    }
    pairs = zip(tokens, continuations, strict=True)
    return np.array([own == usual[text] for own, text in pairs])
