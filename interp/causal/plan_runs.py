"""Many plans on the same texts: each plan edits some of a bench's texts, and all its effects are
read.

Texts share a prefix pass, plans that begin at a high layer begin there, and many rows (a text under
a plan) run together. What a plan edits is said by whoever calls: `prepare` gets the texts of a
chunk and gives a function from rows to interventions.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.alignment import align
from interp.causal.bench import Bench, Effects
from interp.causal.forward import Encoded, Pass, batches, encode_stimuli
from interp.causal.interventions import Intervention
from interp.causal.prefix import Prefix, prefix_tokens, rows_at_once
from interp.causal.readout import TokenReadout
from interp.causal.stand_ins import LAST_TOKEN, position_classes
from interp.causal.words import word_scores
from interp.models import LanguageModel
from interp.progress import track
from interp.sites import Site

REACHES = ("all", "last")
"""Where parts are edited: at every token that may differ from the twin's, or at the text's last one
alone.
"""


class PlanTexts(NamedTuple):
    """A bench's texts and their twins as tokens, and the first position of each that a plan may
    change.
    """

    own: list[Encoded]
    twins: list[Encoded]
    starts: list[int]
    reach: str


class Planned(NamedTuple):
    """A plan as it is run: the indices of its pairs, and the lowest layer that it edits."""

    pairs: tuple[int, ...]
    lowest: int


class ChunkTexts(NamedTuple):
    """Texts that share a prefix pass. `may` is True where a plan may change a text, `classes` are
    those of `position_classes`.
    """

    own: list[Encoded]
    twins: list[Encoded]
    classes: Int[Tensor, "text pos"]
    may: Bool[Tensor, "text pos"]


EditRows = Callable[[list[int], list[int]], list[Intervention]]
"""The interventions of one pass: row r is the chunk's text number `rows[r]` under the plan number
`plans[r]`.
"""

PrepareEdits = Callable[[ChunkTexts], EditRows]


def encode_bench(bench: Bench, *, from_edit: bool, reach: str = "all") -> PlanTexts:
    """The bench's texts with the readout's suffix. `from_edit`: nothing is changed before the first
    token at which a text differs from its twin; else from the text's own first token on.
    """
    own = encode_stimuli(bench.model, bench.read, bench.readout)
    twins = encode_stimuli(bench.model, bench.twins, bench.readout)
    if reach == "last":
        return PlanTexts(own, twins, [text.end for text in own], reach)
    if not from_edit:
        return PlanTexts(own, twins, [text.first for text in own], reach)
    edits = [
        align(twin.tokens, text.tokens).target_edit[0]
        for text, twin in zip(own, twins, strict=True)
    ]
    starts = [min(edit, text.end) for edit, text in zip(edits, own, strict=True)]
    return PlanTexts(own, twins, starts, reach)


def run_plans(
    bench: Bench,
    texts: PlanTexts,
    plans: Sequence[Planned],
    prepare: PrepareEdits,
    *,
    told: str,
    rivals: bool = False,
) -> Effects:
    """The effects of each plan on each of its pairs; `rivals`: of the other emotions' words, too.
    `told` is what the progress bar says.
    """
    bound = bench.readout.bind(bench.model)
    columns = [bound.column(emotion) for emotion in bench.emotions]
    sites = tuple({bench.directions[emotion].site for emotion in bench.emotions})
    shape = (len(plans), len(texts.own))
    unknown = np.full(shape, np.nan)
    effects = Effects(unknown, unknown.copy(), unknown.copy(), np.full(shape, -1))
    ready: tuple[_Chunk, Prefix, EditRows] | None = None
    for chunk, jobs in track(_work(bench.model, texts, plans), told, unit="pass"):
        if ready is None or ready[0] is not chunk:
            ready = None  # before the next is made, or memory would hold both
            ready = _make_ready(bench.model, texts, chunk, prepare)
        _, prefix, edit_rows = ready
        pair, of_plan = [i for i, _ in jobs], [p for _, p in jobs]
        rows = [chunk.index(i) for i in pair]
        result = prefix.run(
            edit_rows(rows, of_plan), read=sites, rows=rows, further=not bound.whole
        )
        own = [columns[i] for i in pair]
        score, lead = _scores(result, bound, own, rivals=rivals or bound.whole)
        effects.score[of_plan, pair], effects.lead[of_plan, pair] = score, lead
        effects.top[of_plan, pair] = result.logits.argmax(-1).cpu().numpy()
        ends = [texts.own[i].end for i in pair]
        effects.projection[of_plan, pair] = _projections(bench, result, pair, ends)
    return effects


_Chunk = tuple[int, ...]
"""Indices of texts that share a prefix pass."""

_Jobs = list[tuple[int, int]]
"""(text, plan): the rows of one forward pass."""


def _work(
    model: LanguageModel, texts: PlanTexts, plans: Sequence[Planned]
) -> list[tuple[_Chunk, _Jobs]]:
    """All passes: texts in chunks, and of each chunk its plans, those that begin at a higher layer
    last.
    """
    behind = [len(text.tokens) - start for text, start in zip(texts.own, texts.starts, strict=True)]
    plans_of: dict[int, list[int]] = defaultdict(list)
    for p, plan in enumerate(plans):
        for i in plan.pairs:
            plans_of[i].append(p)
    work: list[tuple[_Chunk, _Jobs]] = []
    for indices in batches(texts.own, budget=prefix_tokens(model), sizes=behind):
        chunk = tuple(int(i) for i in indices)
        jobs = [(i, p) for i in chunk for p in plans_of[i]]
        jobs.sort(key=lambda job: plans[job[1]].lowest)
        before = max(texts.starts[i] for i in chunk)
        most = rows_at_once(model, before=before, behind=max(behind[i] for i in chunk))
        work += [(chunk, jobs[first : first + most]) for first in range(0, len(jobs), most)]
    return work


def _make_ready(
    model: LanguageModel, texts: PlanTexts, chunk: _Chunk, prepare: PrepareEdits
) -> tuple[_Chunk, Prefix, EditRows]:
    """The prefix of the chunk's texts, and what edits them."""
    own, twins = ([side[i] for i in chunk] for side in (texts.own, texts.twins))
    prefix = Prefix(model, own, [texts.starts[i] for i in chunk])
    classes = position_classes(own)
    starts = torch.tensor([texts.starts[i] for i in chunk])
    may = (classes >= 0) & (torch.arange(classes.shape[1]) >= starts[:, None])
    may &= (classes == LAST_TOKEN) | torch.tensor(texts.reach == "all")
    return chunk, prefix, prepare(ChunkTexts(own, twins, classes, may))


def _scores(
    result: Pass, bound: TokenReadout, own: Sequence[int], *, rivals: bool
) -> Iterator[Float[np.ndarray, " row"]]:
    """The score of each row's own emotion, and by how much it leads the highest of the others."""
    emotions, mine = torch.arange(len(bound.emotions)), torch.tensor(own)
    asked = mine[:, None] == emotions
    wanted = torch.ones_like(asked) if rivals else asked
    scores = word_scores(result, bound, wanted=wanted).cpu().double()
    score = scores[asked]
    yield score.numpy()
    others = scores.masked_fill(asked, -torch.inf).amax(-1)
    known = rivals and len(bound.emotions) > 1
    yield (score - others if known else torch.full_like(score, torch.nan)).numpy()


def _projections(
    bench: Bench, result: Pass, pair: Sequence[int], ends: Sequence[int]
) -> list[float]:
    """Each row's projection on its own emotion's direction, at the text's last token."""
    own = [bench.directions[bench.emotions[i]] for i in pair]
    streams: dict[Site, np.ndarray] = {
        site: result.at(site, ends).double().cpu().numpy() for site in {one.site for one in own}
    }
    return [
        float(streams[direction.site][row] @ np.asarray(direction.vector, dtype=np.float64))
        for row, direction in enumerate(own)
    ]
