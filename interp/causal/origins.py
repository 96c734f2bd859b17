"""Which model a direction or a circuit was made for, by the provenance that it carries."""

from collections.abc import Mapping
from typing import Any


def same_origin(made_for: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether both name the same weights: by `digest`, or where `made_for` has none by `model` and
    `revision`. What does not say where it is from is of no model.
    """
    keys = ("digest",) if made_for.get("digest") else ("model", "revision")
    return made_for.get(keys[0]) is not None and all(
        made_for.get(key) == here.get(key) for key in keys
    )


def named_origin(provenance: Mapping[str, Any]) -> str:
    """The model of a provenance, as messages name it: name, revision, and start of the digest."""
    digest = str(provenance.get("digest") or "unknown")[:12]
    return f"{provenance.get('model')} (revision {provenance.get('revision')}, digest {digest})"
