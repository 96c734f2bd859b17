"""The store: what a capture recorded, kept so that a crash cannot spoil it. It imports no torch.

`activation_store` reads it, as `activations`; `folder` and `shard` write it; the other files are
its walls: locks, sealed lines, verified blocks, upkeep.
"""

from interp.capture.store.activation_store import ActivationStore
from interp.capture.store.activations import Activations

__all__ = ["ActivationStore", "Activations"]
