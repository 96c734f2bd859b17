"""Total effects: how much likelier a text makes the words of its emotion than its neutral twin
does.

This is what patching, ablation and steering have to explain: without it there is nothing to
restore.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.forward import batches, encode_stimuli
from interp.causal.readout import Readout, TokenReadout
from interp.causal.words import text_scores
from interp.models import LanguageModel
from interp.progress import track
from stimuli.battery import Pair, Stimulus


def total_effects(
    model: LanguageModel, pairs: Sequence[Pair], readout: Readout
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """For each pair, affective minus neutral, in nats: the log-probability of the emotion's words,
    and its contrast with the words of the others (`TokenReadout.contrast`), which patching
    restores.

    A neutral text that is the twin of several is read once. Raises as `TokenReadout.column` does.
    """
    bound = readout.bind(model)
    emotions = [pair.affective.emotion for pair in pairs]
    texts: dict[str, Stimulus] = {text.id: text for pair in pairs for text in pair}
    rows = encode_stimuli(model, list(texts.values()), readout)
    scores = np.empty((len(rows), len(bound.emotions)))
    for batch in track(batches(rows), "effects", unit="batch"):
        found = text_scores(model, [rows[i] for i in batch], bound)
        scores[batch] = found.double().cpu().numpy()
    place = {name: row for row, name in enumerate(texts)}
    sides = [scores[[place[pair[side].id] for pair in pairs]] for side in (0, 1)]
    columns = torch.tensor([bound.column(emotion) for emotion in emotions]).numpy()
    own = [side[np.arange(len(pairs)), columns] for side in sides]
    return own[0] - own[1], contrast_effects(bound, sides, emotions)


def contrast_effects(
    bound: TokenReadout,
    sides: Sequence[Float[np.ndarray, "pair emotion"]],
    emotions: Sequence[str],
) -> Float[np.ndarray, " pair"]:
    """Affective minus neutral (nats) of the contrast, from the scores of both `sides`."""
    affective, neutral = (bound.contrast(side, emotions) for side in sides)
    return affective - neutral
