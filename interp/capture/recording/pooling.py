"""Pooling inside the hook: of each site only what the position rules keep is copied, the rest is
never held.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.capture.plan import Plan
from interp.capture.positions import pooling_weights
from interp.models import Batch
from interp.sites import Site


class Pooler:
    """Collects one batch: `sink` takes a site's tensor, `arrays` gives what was kept as float32
    numpy arrays.
    """

    def __init__(
        self, plan: Plan, rows: Sequence[int], batch: Batch, device: torch.device | str
    ) -> None:
        self.rules = plan.positions
        self.lengths = batch.lengths
        pooled = [place for place, rule in enumerate(r for r in plan.positions if r.pooled)]
        selected = [[plan.texts[row].selected[place] for row in rows] for place in pooled]
        width = int(batch.ids.shape[1])
        self.weights = (
            torch.stack([pooling_weights(s, width=width) for s in selected], dim=1).to(device)
            if pooled
            else None
        )
        self.kept: dict[str, list[Tensor]] = {}

    def sink(self, site: Site, tensor: Float[Tensor, "batch pos *rest"]) -> None:
        """Keep what the rules want of a site's tensor (axes: `site.axes`)."""
        pooled = iter(self._pool(site, tensor))
        for rule in self.rules:
            name = f"{site}/{rule}"
            if not rule.pooled:
                self.kept[name] = [
                    row[:length].float().clone()
                    for row, length in zip(tensor, self.lengths, strict=True)
                ]
            elif site.name == "pattern":  # the key axis first, cut to the text: ragged like tokens
                keyed = next(pooled).movedim(-1, 1)
                self.kept[name] = [
                    row[:length] for row, length in zip(keyed, self.lengths, strict=True)
                ]
            else:
                self.kept[name] = [next(pooled)]

    def _pool(self, site: Site, tensor: Tensor) -> Sequence[Tensor]:
        """One pooled tensor [batch, ...] per pooled rule: a batched product with the weights."""
        if self.weights is None:
            return []
        if site.name == "pattern" and site.head is None:
            tensor = tensor.movedim(2, 1)
        flat = tensor.flatten(2).to(torch.float32)
        pooled = torch.bmm(self.weights.to(flat.device), flat)
        return [pooled[:, rule].unflatten(-1, tensor.shape[2:]) for rule in range(pooled.shape[1])]

    def leave(self) -> tuple[Callable[[], dict[str, np.ndarray]], bool]:
        """Send what was kept to the host's memory, as `send_to_host` does, by `SITE/POSITION`.

        Arrays are [text, ...], or ragged [token, ...].
        """
        whole = {
            name: pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            for name, pieces in self.kept.items()
        }
        self.kept = {}
        return send_to_host(whole)


def send_to_host(tensors: Mapping[str, Tensor]) -> tuple[Callable[[], dict[str, np.ndarray]], bool]:
    """Begin copying `tensors`: a function that waits and gives the arrays, and whether there is
    anything to wait for.

    From a CUDA device the copies go through pinned memory on a stream of their own, so that the
    device computes the next batch meanwhile; elsewhere nothing is left to wait for.
    """
    streams: dict[torch.device, torch.cuda.Stream] = {}
    host: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_cuda:
            host[name] = tensor.cpu()
            continue
        if tensor.device not in streams:
            streams[tensor.device] = torch.cuda.Stream(tensor.device)
            streams[tensor.device].wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(streams[tensor.device]):
            host[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(
                tensor, non_blocking=True
            )
        tensor.record_stream(streams[tensor.device])

    def arrive() -> dict[str, np.ndarray]:
        for stream in streams.values():
            stream.synchronize()
        return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in host.items()}

    return arrive, bool(streams)
