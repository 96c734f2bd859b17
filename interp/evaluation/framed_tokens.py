"""The stream of framed tasks, token by token: along the framing, and at the last tokens of the
task, which are the same words behind all framings.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from interp.causal.forward import Encoded, batches, encode_stimuli, run_forward
from interp.causal.readout import Readout
from interp.errors import DataError
from interp.evaluation.framed_tasks import FramedTask, framed
from interp.models import LanguageModel
from interp.progress import track
from interp.sites import Site

PLACES_ALONG = 6
"""Places along a framing that are read: the middles of so many equal parts."""


class TokenMeans(NamedTuple):
    """Of each framing's wording the mean over the tasks, and the mean square of the stream's norm.
    The first `parts` tokens lie along the framing, the others are the last ones of the task.
    """

    means: Float[np.ndarray, "site token text d_model"]
    squares: Float[np.ndarray, "site token text"]
    parts: int


def read_tokens(
    model: LanguageModel,
    texts: Sequence[str],
    tasks: Sequence[FramedTask],
    sites: Sequence[Site],
    *,
    most: int,
) -> TokenMeans:
    """What the sites hold at `PLACES_ALONG` places along each framing (a text with `{task}`), and
    at the last tokens of the task that all framings share: `most`, or as many as every task has.

    Raises `DataError` where framings leave no token of a task as it is, or a text begins with the
    task; and as `encode_stimuli`.
    """
    readout = Readout({"right": [tasks[0].right]}, "")
    rows = [
        encode_stimuli(
            model, [framed(text, task, f"{at}") for at, text in enumerate(texts)], readout
        )
        for task in tasks
    ]
    shared = [_shared(every) for every in rows]
    last = min(most, *shared)
    at = np.stack(
        [
            [_places(row, common, last) for row in every]
            for every, common in zip(rows, shared, strict=True)
        ]
    )
    shape = (len(sites), at.shape[-1], len(texts))
    means, squares = np.zeros((*shape, model.dims.d_model)), np.zeros(shape)
    for every, places in track(list(zip(rows, at, strict=True)), "scanning framings", unit="task"):
        for batch in batches(every):
            part = [every[row] for row in batch]
            with torch.inference_mode():
                kept = run_forward(model, part, read=sites, at=torch.from_numpy(places[batch]))
            for place, site in enumerate(sites):
                x = kept.sites[site].double().cpu().numpy()
                means[place][:, batch] += x.transpose(1, 0, 2) / len(tasks)
                squares[place][:, batch] += (x**2).sum(axis=-1).T / len(tasks)
    return TokenMeans(means, squares, PLACES_ALONG)


def _shared(rows: Sequence[Encoded]) -> int:
    """How many tokens the texts have in common, counted from their last ones."""
    stories = [row.story[::-1] for row in rows]
    shortest = min(map(len, stories))
    alike = [len({story[at] for story in stories}) == 1 for at in range(shortest)]
    found = alike.index(False) if False in alike else shortest
    if found == 0:
        raise DataError("the framings of a task end in different tokens: end each in {task}.")
    return found


def _places(row: Encoded, shared: int, last: int) -> Int[np.ndarray, " token"]:
    length = row.end + 1 - shared - row.first
    if length < 1:
        raise DataError("a framing has no token before its task: begin it with a sentence.")
    along = row.first + ((np.arange(PLACES_ALONG) + 0.5) / PLACES_ALONG * length).astype(np.int64)
    return np.concatenate([along, np.arange(row.end - last + 1, row.end + 1)])
