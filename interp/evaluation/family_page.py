"""The page on families, docs/families.md, out of the rows of `interp.evaluation.families`."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from interp.evaluation.comparisons import METHODS
from interp.evaluation.families import PRECISIONS, TOLERANCES, WHOLE
from interp.models.checks.reliance import RELIES_ON
from interp.testbeds.families import FAMILIES

FamilyRows = Sequence[Mapping[str, Any]]

READ_METHODS = ("stream", "what is added", "heads", "neurons")
ACTING = tuple(method for method in METHODS if method not in READ_METHODS)

_HEAD = """# Families of models

What can be asked of which family. `scripts/families --page docs/families.md` writes this page; a
test holds some of its lines against what the script says today.

Each family is a tiny model with random weights. A method is asked first whether it may be used;
then its numbers are held against those of the plain Hugging Face model, asked through torch's own
forward hooks, in float32 and in bfloat16.

- **right**: the numbers are Hugging Face's, up to rounding ({bounds}
  of the largest).
- **no: CHECK**: refused, with an error that names the site, the numbers and what can be asked
  instead. The check is the one that failed. `not offered`: the model shows no such site, as a
  mixture of experts shows no neurons.
- Where the two precisions differ, both are told.

No family gives numbers that Hugging Face contradicts. `interp doctor MODEL --dtype bfloat16` makes
the same checks on a model of yours. What is put at `resid_mid` reaches the MLP and is carried on to
the stream behind it; where attention and MLP read one stream, there is no such place to edit.
"""

_NAMES = {
    "stream": "`resid_pre`, `resid_post` of every layer",
    "what is added": "`attn_out`, `mlp_out`: what the stream lacks when the module writes nothing",
    "heads": "contributions of heads: what the stream lacks without the head's numbers",
    "neurons": "contributions of neurons, likewise",
    "patch stream": "`resid_post` at the last token exchanged, behind a cached prefix: the logits",
    "patch added": "`attn_out`, `mlp_out` at the last token set to zero, likewise",
    "ablate heads": "a head at the last token set to zero, likewise",
    "ablate neurons": "a neuron, likewise",
    "steer": "a vector added from the prompt's last token on while text is written: the tokens",
    "generate": "greedy text from padded prompts with the cache: the tokens",
}


def write_page(rows: FamilyRows) -> str:
    """The page, in Markdown."""
    bounds = " and ".join(f"{TOLERANCES[dtype]:.0e} in {dtype}" for dtype in PRECISIONS)
    head = _HEAD.format(bounds=bounds)
    whole = [family for family in _families(rows) if _refused_whole(rows, family)]
    parts = [head, "## What is compared, and what it relies on\n", *_methods()]
    parts += ["\n## Reading\n", *table_lines(rows, READ_METHODS)]
    parts += ["\n## Acting\n", *table_lines(rows, ACTING)]
    if whole:
        parts += ["\n## Refused as a whole\n", *(whole_line(rows, family) for family in whole)]
    return "\n".join(parts) + "\n"


def table_lines(rows: FamilyRows, methods: Sequence[str]) -> list[str]:
    """The lines of a table: a family per line, a method per column."""
    lines = [f"| family | peculiar | {' | '.join(methods)} |", f"|{'---|' * (len(methods) + 2)}"]
    told = [family for family in _families(rows) if not _refused_whole(rows, family)]
    return lines + [table_line(rows, family, methods) for family in told]


def table_line(rows: FamilyRows, family: str, methods: Sequence[str]) -> str:
    """The line of a family."""
    cells = [_cell(rows, family, method) for method in methods]
    return f"| {family} | {FAMILIES[family].peculiar} | {' | '.join(cells)} |"


def whole_line(rows: FamilyRows, family: str) -> str:
    """The line of a family that is refused when it is loaded."""
    why = next(row["why"] for row in rows if row["family"] == family)
    text = f"{family} ({FAMILIES[family].peculiar}): {why.removeprefix(WHOLE)}."
    return textwrap.fill(text, 98, initial_indent="- ", subsequent_indent="  ")


def _cell(rows: FamilyRows, family: str, method: str) -> str:
    mine = [row for row in rows if row["family"] == family and row["method"] == method]
    words = {row["dtype"]: _word(row) for row in mine}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{dtype} {word}" for dtype, word in words.items())


def _word(row: Mapping[str, Any]) -> str:
    told = {"right": "right", "refused": f"no: {row['why'].removeprefix(WHOLE)}"}
    return told.get(row["word"], f"WRONG: {row['why']}")


def _families(rows: FamilyRows) -> list[str]:
    return list(dict.fromkeys(row["family"] for row in rows))


def _refused_whole(rows: FamilyRows, family: str) -> bool:
    return all(row["why"].startswith(WHOLE) for row in rows if row["family"] == family)


def _methods() -> list[str]:
    lines = []
    for name, method in METHODS.items():
        needs = RELIES_ON[method.relies]
        of_sites = [check for check, names in needs.sites.items() if set(names) & set(method.names)]
        relies = ", ".join([*of_sites, *needs.whole])
        text = f"**{name}**: {_NAMES[name]}. Relies on: {relies}."
        lines += textwrap.wrap(text, 98, initial_indent="- ", subsequent_indent="  ")
    return lines
