"""The model card of a folder of directions: a Markdown file that begins with the Hub's YAML fields
(`license`, `base_model`, `tags`; huggingface.co/docs/hub/model-cards).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import stimuli
from interp.directions import Direction
from interp.models.loading.names import split_hub_id
from interp.models.loading.packaged import PACKAGED

TAGS = ("steering-vector", "activation-steering", "interpretability", "emotion")

_HOW = """\
## How to use it

Layer N is the output of block N, counted from 0 (`hidden_states[N + 1]` in transformers, but for
the last block). The vector in a file has norm 1; what is added there is that vector times *added*.
At which tokens is for the reader to choose.

```python
import interp
from interp.study.hub_folder import load_hub_folder

model = interp.load(MODEL)  # another model than this one is refused
one, *_ = load_hub_folder("FOLDER", model)
print(interp.steer(model, "I", one.direction, scale=one.scale, unit=one.unit))
```

Other tools read the tensor `vector` of a file and the number `added` in `config.json`.
"""

_LIMITS = """\
## Limits

- The directions belong to the weights with the digest above. In another model, or after more
  training, the same coordinates mean something else.
- A direction is what separates texts of a battery. What it does to other texts, to other languages
  and to long conversations was not measured for this card.
- Adding it moves what the model writes. That says neither that the model feels anything, nor that
  the direction holds the emotion and nothing else: words, topic and style may go with it.
- Larger doses than the one listed cost fluency; nothing here says by how much.
"""


def base_model(provenance: Mapping[str, Any]) -> str | None:
    """The Hub's name of the model that something was made with; None where it is not from there."""
    name = str(provenance.get("model"))
    if name in PACKAGED:
        return PACKAGED[name].hub_id
    return split_hub_id(name)[0] if provenance.get("revision") else None


def public_name(provenance: Mapping[str, Any]) -> str:
    """The model's name without where it lies on this machine: interp's own name, the Hub's, or the
    last part of a path.
    """
    name = str(provenance.get("model"))
    if name in PACKAGED:
        return name
    return base_model(provenance) or Path(name).name or name


def model_card(
    directions: Sequence[Direction], rows: Sequence[Mapping[str, Any]], *, licence: str
) -> str:
    """The text of README.md for directions of one model, `rows` being their lines in
    `config.json`.
    """
    origin = directions[0].provenance
    parts = [
        _header(origin, licence),
        "# Emotion directions\n",
        f"Directions in the residual stream of {_model_told(origin)}, written by interp.\n",
        _table(directions, rows),
        _measured(directions),
        _HOW.replace("MODEL", json.dumps(origin.get("model"))),
        _LIMITS,
    ]
    return "\n".join(parts)


def _header(origin: Mapping[str, Any], licence: str) -> str:
    """The YAML: a text in JSON's quotes is one in YAML's."""
    fields: dict[str, Any] = {"license": licence}
    if (base := base_model(origin)) is not None:
        fields["base_model"] = base
    fields["tags"] = list(TAGS)
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---", ""])


def _model_told(origin: Mapping[str, Any]) -> str:
    revision = f", revision `{origin['revision']}`" if origin.get("revision") else ""
    return f"`{origin.get('model')}`{revision} (digest `{origin.get('digest')}`)"


def _table(directions: Sequence[Direction], rows: Sequence[Mapping[str, Any]]) -> str:
    head = "| file | emotion | against | layer | dose | added | length on held-out scenarios |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for one, row in zip(directions, rows, strict=True):
        low, high = one.length_interval
        interval = "" if np.isnan(low) else f" [{low:.3g}, {high:.3g}]"
        cells = (
            row["file"], _plain(row["emotion"]), _plain(row["against"]), row["layer"],
            f"{row['scale']:g} {row['unit']}", f"{row['added']:.4g}", f"{one.length:.3g}{interval}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    told = (
        "\nA dose is a multiple of `unit`: 0.3 of the stream's norm (dose), that norm (stream), or "
        "the\nlength on held-out scenarios (length).\n"
    )
    return "\n".join(lines) + "\n" + told


def _measured(directions: Sequence[Direction]) -> str:
    """How the directions were found, each sentence once, and what was warned of."""
    lines = ["## How it was measured\n"]
    digests = {one.provenance.get("battery") for one in directions}
    batteries = {digest: _battery_told(digest) for digest in digests}
    lines += dict.fromkeys(
        _method_told(one, batteries[one.provenance.get("battery")]) for one in directions
    )
    lines += [
        "- The length is the mean difference of the two labels' projections on scenarios that were "
        "not\n  fitted, with its 95 % interval over scenarios where there is one."
    ]
    for one in directions:
        for doubt in one.provenance.get("warnings", ()):
            lines.append(f"- In doubt, {_plain(one.labels[0])} at {one.site}: {_plain(doubt)}")
    return "\n".join(lines) + "\n"


def _method_told(one: Direction, battery: str) -> str:
    told = one.provenance
    texts = f", {told['texts']} texts" if "texts" in told else ""
    arm = f", arm `{told['arm']}`" if "arm" in told else ""
    position = told.get("position", "unknown")
    return f"- Method `{one.method}` on {battery}{arm}{texts}, at the position\n  `{position}`."


def _battery_told(digest: Any) -> str:
    """The battery by the name of a packaged one, if it is one, and by its digest."""
    if digest is None:
        return "a battery that is not recorded"
    named = next((name for name in stimuli.names() if stimuli.load(name).sha256 == digest), None)
    what = f"the battery `{named}`" if named else "a battery of the user's own"
    return f"{what} (SHA-256 `{digest}`)"


def _plain(text: Any) -> str:
    """A label or a warning as one cell of a table: no line breaks and no bars."""
    return " ".join(str(text).replace("|", "/").split())
