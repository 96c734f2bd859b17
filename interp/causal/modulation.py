"""Modulation: a circuit's heads and neurons moved as they move in texts of the emotion, while the
model reads and writes.

    z_l[h] += s shift_h,  u_l[n] += s shift_n

with the mean paired difference of what each holds at the text's last token (`CircuitPart.shift`):
at scale 1 they are moved as far as the twins that found the circuit differ. Source: "Do LLMs Feel?"
(Emotion Circuits).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.causal.circuit import Circuit, check_circuit
from interp.causal.contributions import KINDS
from interp.causal.edits import add
from interp.causal.interventions import Intervention, Where
from interp.errors import UsageError
from interp.models import LanguageModel
from interp.models.checks.reliance import require
from interp.sites import Site


def modulate(
    model: LanguageModel,
    circuit: Circuit,
    *,
    scale: float | int | Sequence[float] = 1.0,
    where: Where = ("last", "generated"),
) -> list[Intervention]:
    """The interventions that move the circuit's parts by `scale` times their shifts (one scale for
    all prompts or one per prompt), for `interp.generate`.

    Raises `ArtefactError` for a circuit of another model, `UsageError` for an empty circuit, a
    scale that is not finite, and where an edit of heads or neurons does not act.
    """
    check_circuit(model, circuit)
    shifts = shifts_of(model, circuit)
    if not shifts:
        raise UsageError(f"the circuit of {circuit.emotion} is empty: there is nothing to move.")
    require(model, "steering", list(shifts))
    return [
        Intervention(site, add(shift, scale=np.asarray(scale, dtype=float)), where)
        for site, shift in shifts.items()
    ]


def shifts_of(model: LanguageModel, circuit: Circuit) -> dict[Site, Float[np.ndarray, "..."]]:
    """By how much each touched site is moved: [head d_head] at z, [d_mlp] at post; zero where a
    part is not of the circuit.
    """
    dims = model.dims
    shapes = {"head": (dims.n_heads, dims.d_head), "neuron": (dims.d_mlp,)}
    found: dict[Site, np.ndarray] = {}
    for kind, nodes in circuit.nodes.items():
        for node in nodes:
            site = Site(KINDS[kind], node.layer)
            moved = found.setdefault(site, np.zeros(shapes[kind], dtype=np.float32))
            moved[node.index] = node.shift if kind == "head" else node.shift[0]
    return found
