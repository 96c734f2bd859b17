"""Words of several tokens: their probability after a pass, by reading on behind each of its rows.

log p(word) = log p(first token) + sum of log p(next token | those before it). What was read so far
is in the pass's key-value cache; behind it only a word's own tokens are read, all words and rows
together, and a beginning that words share only once. Where every word is one token nothing is read.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.forward import Encoded, Pass, run_forward
from interp.causal.prefix import Prefix
from interp.causal.readout import TokenReadout, Word
from interp.errors import InternalError
from interp.models import LanguageModel

Asked = Mapping[Word, Bool[Tensor, " row"]]
"""The rows in which each beginning is read on from."""


@runtime_checkable
class ReadsOn(Protocol):
    """What reads further tokens behind the rows of a pass (`interp.causal.prefix.Behind`)."""

    def rows_at_once(self, length: int) -> int:
        """How many rows `read` should be given for so many tokens each."""
        ...

    def read(
        self, rows: Int[Tensor, " row"], ids: Int[Tensor, "row new"]
    ) -> Float[Tensor, "row d_vocab"]:
        """Logits behind the tokens `ids`, each row of them read behind row `rows[i]`."""
        ...


Steps = Mapping[tuple[Word, int], Float[Tensor, " row"]]
"""log p(token | text, beginning) by beginning and token; NaN in rows where it was not asked for."""


def word_scores(
    found: Pass, bound: TokenReadout, *, wanted: Bool[Tensor, "row emotion"] | None = None
) -> Float[Tensor, "row emotion"]:
    """The readout's scores (nats) after each row of a pass, words of several tokens whole.

    Only `wanted` scores are sure to be there (None: all of them); where reading on would be needed
    for another, it is NaN. Raises `InternalError` for a pass that kept nothing to read on from.
    """
    if bound.whole:
        return bound.scores(found.logits)
    if found.behind is None:
        raise InternalError(
            "words of several tokens are scored after a pass that cannot be read on."
        )
    if wanted is None:
        wanted = torch.ones(len(found.logits), len(bound.emotions), dtype=torch.bool)
    steps = _read_on(found.behind, _asked(bound, wanted), _following(bound))
    behind = {
        emotion: torch.stack([_sum(steps, word) for word in longer], dim=-1).to(found.logits.device)
        for emotion, words in bound.scored.items()
        if (longer := [word for word in words if len(word) > 1])
    }
    return bound.scores(found.logits, behind)


def text_scores(
    model: LanguageModel, rows: Sequence[Encoded], bound: TokenReadout
) -> Float[Tensor, "row emotion"]:
    """The readout's scores (nats) after one batch of texts, unedited."""
    if bound.whole:
        return bound.scores(run_forward(model, rows).logits)
    prefix = Prefix(model, rows, [len(row.tokens) for row in rows])
    return word_scores(prefix.run([], further=True), bound)


def _sum(steps: Steps, word: Word) -> Float[Tensor, " row"]:
    return torch.stack([steps[word[:n], word[n]] for n in range(1, len(word))]).sum(0)


def _following(bound: TokenReadout) -> dict[Word, list[int]]:
    """The tokens that follow each beginning in some word."""
    found: dict[Word, set[int]] = defaultdict(set)
    for words in bound.scored.values():
        for word in words:
            for n in range(1, len(word)):
                found[word[:n]].add(word[n])
    return {beginning: sorted(tokens) for beginning, tokens in found.items()}


def _asked(bound: TokenReadout, wanted: Bool[Tensor, "row emotion"]) -> Asked:
    """The rows in which each beginning is asked for: by any of the emotions that have it."""
    found: dict[Word, Tensor] = {}
    for emotion, rows in zip(bound.emotions, wanted.cpu().T, strict=True):
        for beginning in bound.beginnings(emotion):
            found[beginning] = found.get(beginning, torch.zeros_like(rows)) | rows
    return found


def _read_on(behind: ReadsOn, asked: Asked, following: Mapping[Word, Sequence[int]]) -> Steps:
    """What the model says behind each beginning, in the rows that ask for it."""
    steps = {
        (beginning, token): torch.full((len(rows),), torch.nan)
        for beginning, rows in asked.items()
        for token in following[beginning]
    }
    for beginnings, rows in _jobs(behind, asked):
        ids = torch.tensor(beginnings)
        log_probs = behind.read(rows, ids).float().log_softmax(-1)
        for beginning in dict.fromkeys(beginnings):
            mine = (ids == torch.tensor(beginning)).all(-1)
            tokens = following[beginning]
            known = log_probs[mine.to(log_probs.device)][:, tokens].cpu()
            for token, values in zip(tokens, known.T, strict=True):
                steps[beginning, token][rows[mine]] = values
    return steps


def _jobs(behind: ReadsOn, asked: Asked) -> Iterator[tuple[list[Word], Int[Tensor, " job"]]]:
    """Beginnings of one length and the rows behind which they are read, as many as fit together."""
    of_length: dict[int, list[tuple[Word, int]]] = defaultdict(list)
    for beginning, rows in asked.items():
        of_length[len(beginning)] += [(beginning, row) for row in rows.nonzero().flatten().tolist()]
    for length, jobs in sorted(of_length.items()):
        most = behind.rows_at_once(length)
        for first in range(0, len(jobs), most):
            part = jobs[first : first + most]
            yield [beginning for beginning, _ in part], torch.tensor([row for _, row in part])
