"""Sources: what texts hold where patches take it from. A text is a source many times: of its twin,
of strangers, at several positions. It is read once, as long as there is room to keep it.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from interp.causal.forward import Encoded, batches, run_forward
from interp.causal.readout import TokenReadout
from interp.causal.transplants import Case, Donor, Held, padded_positions
from interp.causal.words import text_scores
from interp.models import LanguageModel
from interp.progress import track
from interp.sites import Site

SOURCE_BYTES = 256 << 20
"""Bytes of what is kept of all texts together."""

_Tokens = tuple[int, ...]


class _Reading(NamedTuple):
    """What was read of one text: at its positions, by site, and behind it."""

    logits: Float[Tensor, " d_vocab"]
    sites: Mapping[Site, Float[Tensor, " kept *site"]]

    @property
    def bytes(self) -> int:
        """What it takes to keep it."""
        return sum(one.nbytes for one in (self.logits, *self.sites.values()))


class Sources:
    """What the sources of `cases` hold at `sites`, at the tokens that any of the cases takes (of
    these `positions` alone, where some are named).

    Up to `SOURCE_BYTES` bytes are kept; what does not fit is read again when it is asked for.
    """

    def __init__(
        self,
        model: LanguageModel,
        cases: Iterable[Case],
        bound: TokenReadout,
        sites: Sequence[Site],
        *,
        positions: Collection[str] = (),
    ) -> None:
        self.model, self.bound, self.sites = model, bound, list(dict.fromkeys(sites))
        self._room = SOURCE_BYTES
        self._positions = _taken_positions(cases, positions)
        self._read: dict[_Tokens, _Reading] = {}
        self._scores: dict[_Tokens, Float[np.ndarray, " emotion"]] = {}

    def donor(self, texts: Sequence[Encoded]) -> Donor:
        """What these texts hold, a row each."""
        found = self._readings(texts)
        own = [found[text.tokens] for text in texts]
        held = {
            site: pad_sequence([one.sites[site] for one in own], batch_first=True)
            for site in self.sites
        }
        positions = [self._positions_of(text) for text in texts]
        return Donor(torch.stack([one.logits for one in own]), Held(held, positions))

    def scores(self, texts: Sequence[Encoded], *, told: str = "") -> Float[Tensor, "text emotion"]:
        """The readout's scores (nats) behind these texts. `told` is what a progress bar says."""
        new = _distinct(texts, known=self._scores)
        chunks = batches(new)
        for chunk in track(chunks, told, unit="batch") if told else chunks:
            some = [new[i] for i in chunk]
            if self.bound.whole:
                self._readings(some)
            else:
                self._keep_scores(some, text_scores(self.model, some, self.bound))
        return torch.from_numpy(np.stack([self._scores[text.tokens] for text in texts]))

    def _readings(self, texts: Sequence[Encoded]) -> Mapping[_Tokens, _Reading]:
        """The readings of these texts: those that are kept, and the others, which are read now."""
        found = {one: self._read[one] for text in texts if (one := text.tokens) in self._read}
        new = _distinct(texts, known=found)
        for chunk in batches(new):
            some = [new[i] for i in chunk]
            readings = self._read_now(some)
            if self.bound.whole:
                logits = torch.stack([one.logits for one in readings])
                self._keep_scores(some, self.bound.scores(logits))
            for text, reading in zip(some, readings, strict=True):
                found[text.tokens] = reading
                if reading.bytes <= self._room:
                    self._room -= reading.bytes
                    self._read[text.tokens] = reading
        return found

    def _keep_scores(self, texts: Sequence[Encoded], scores: Float[Tensor, "text emotion"]) -> None:
        rows = scores.cpu().numpy().copy()
        self._scores |= {one.tokens: row for one, row in zip(texts, rows, strict=True)}

    def _read_now(self, texts: Sequence[Encoded]) -> list[_Reading]:
        positions = [self._positions_of(text) for text in texts]
        found = run_forward(self.model, texts, read=self.sites, at=padded_positions(positions))
        return [
            _Reading(
                found.logits[row].clone(),
                {site: x[row, : len(own)].clone() for site, x in found.sites.items()},
            )
            for row, own in enumerate(positions)
        ]

    def _positions_of(self, text: Encoded) -> Int[np.ndarray, " kept"]:
        return self._positions.get(text.tokens, np.array([text.end]))


def _distinct(texts: Sequence[Encoded], *, known: Container[_Tokens]) -> list[Encoded]:
    """Each of the texts once, without those that are known."""
    return list({text.tokens: text for text in texts if text.tokens not in known}.values())


def _taken_positions(
    cases: Iterable[Case], asked: Collection[str]
) -> dict[_Tokens, Int[np.ndarray, " kept"]]:
    """By a source's tokens the positions that anything takes from it, sorted."""
    taken: dict[_Tokens, list[Int[np.ndarray, " _"]]] = {}
    for case in cases:
        for (position, control), (positions, _) in case.moves.items():
            if asked and position not in asked:
                continue
            text = case.strangers[control] if control else case.source
            taken.setdefault(text.tokens, []).append(positions)
    return {tokens: np.unique(np.concatenate(one)) for tokens, one in taken.items()}
