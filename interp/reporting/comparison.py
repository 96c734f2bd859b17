"""The page of a comparison of runs: curves by relative depth, verdicts side by side, spaces."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from interp.files import make_folder, write_atomic
from interp.records import RunRecord
from interp.reporting.figures import FILE_KINDS, as_bytes
from interp.reporting.formatting import decimals, label, visible, whole
from interp.reporting.matrices import colour_bar, heat
from interp.reporting.resources import resource
from interp.reporting.select import column, groups, holds, matrix, measured, numbers, select, word
from interp.reporting.style import (
    chance,
    columns_for,
    curve,
    explain,
    facets,
    key,
    look,
    outer_labels,
    styled,
)


@dataclass(frozen=True, slots=True)
class CurveOf:
    """A curve over the layers of a run: `name` it, the rows of a table it is (`wanted`), and what
    `nothing` would score.
    """

    name: str
    table: str
    wanted: Mapping[str, str]
    nothing: float


_PROBES = {"metric": "auroc", "control": "", "site": "resid_post"}
_RSA = {"metric": "rsa", "control": ""}
_PATCH = {"metric": "restoration", "control": "", "site": "resid_post", "emotion": "all"}

CURVES = (
    CurveOf("reception (AUROC)", "probes", {**_PROBES, "task": "reception"}, 0.5),
    CurveOf("categorisation (AUROC)", "probes", {**_PROBES, "task": "categorisation"}, 0.5),
    CurveOf("near on the wheel (r)", "geometry", {**_RSA, "reference": "wheel"}, 0.0),
    CurveOf("near by ratings (r)", "geometry", {**_RSA, "reference": "ratings"}, 0.0),
    CurveOf(
        "restored by patching",
        "patching",
        {**_PATCH, "mode": "denoise", "position": "last"},
        0.0,
    ),
)
"""The curves that are drawn side by side."""


def curve_rows(table: pd.DataFrame, wanted: CurveOf) -> Iterator[dict[str, Any]]:
    """The rows of a curve in a run's table, under the first position rule; none where it was not
    measured.
    """
    if not holds(table, **wanted.wanted):
        return
    rows = select(table, **wanted.wanted)
    rows = rows[(column(rows, "position") == word(rows, "position")) & rows["depth"].notna()]
    for at in range(len(rows)):
        row = rows.iloc[at]
        kept = ("site", "layer", "depth", "method", "value", "ci_low", "ci_high")
        told = {"metric": "curve", "curve": wanted.name, "n": int(row["n"])}
        yield {**told, **{name: row[name] for name in kept}}


@styled
def compared_curves(rows: pd.DataFrame) -> Figure:
    """The runs' curves by relative depth, a panel per question."""
    own = select(rows, metric="curve")
    panels = groups(own, ["curve"])
    nothing = {one.name: one.nothing for one in CURVES}
    names = list(dict.fromkeys(column(own, "who")))
    figure, axes = facets(len(panels), columns=columns_for(len(panels)), height=2.4, share=False)
    for panel, (name, part) in zip(axes, panels, strict=True):
        for who, line in groups(part, ["who"]):
            curve(panel, line, x="depth", look=look(names.index(who)), text=who)
        chance(panel, nothing[name], "nothing")
        panel.set_title(label(name))
        panel.set_xlim(0, 1.02)
    outer_labels(figure, axes, x="depth, as a share of the layers", y="")
    for panel in axes:
        panel.tick_params(labelbottom=True, labelleft=True)
    key(figure)
    explain(
        figure,
        title="The runs beside each other",
        caption="By relative depth; bands are 95 % intervals over scenarios. Where two bands "
        "overlap, the runs are not shown to differ there.",
        rows=own,
    )
    return figure


@styled
def compared_spaces(rows: pd.DataFrame) -> Figure:
    """Debiased linear CKA of each layer of the first run with each of another one."""
    own = select(rows, metric="cka")
    panels = groups(own, ["second"])
    figure, axes = facets(len(panels), columns=2, height=3.2, share=False)
    for panel, (name, part) in zip(axes, panels, strict=True):
        down, across = (numbers(part, one) for one in ("layer", "other_layer"))
        rows_, columns = (sorted(set(one)) for one in (down, across))
        cells = matrix(down, across, part["value"], rows_, columns)
        cells.index, cells.columns = ([whole(one) for one in axis] for axis in (rows_, columns))
        heat(panel, cells, limit=1.0)
        panel.set_title(label(name))
        panel.set_ylabel(f"layer of {label(word(part, 'first'))}")
        panel.set_xlabel("layer")
    colour_bar(figure, axes, "CKA")
    explain(
        figure,
        title="Do the same texts lie to each other in the same way?",
        caption="Linear CKA, debiased: 1 for a turned copy, 0 where the texts lie independently.",
        rows=own,
        unit="texts",
    )
    return figure


def write_comparison(
    folder: Path,
    *,
    runs: Sequence[tuple[str, RunRecord]],
    rows: pd.DataFrame,
    verdicts: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> Path:
    """Write the page of a comparison and its figures; the page's path. The same runs give the same
    bytes.
    """
    drawn = []
    for draw, metric in ((compared_curves, "curve"), (compared_spaces, "cka")):
        if not holds(rows, metric=metric):
            continue
        figure = draw(rows)
        files = {kind: as_bytes(figure, kind) for kind in FILE_KINDS}
        for kind, data in files.items():
            write_atomic(make_folder(folder / "figures") / f"{draw.__name__}.{kind}", data)
        source = base64.b64encode(files["svg"]).decode("ascii")
        told = " ".join(f"{draw.__doc__}".split())
        drawn.append({"alt": told, "source": f"data:image/svg+xml;base64,{source}"})
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.from_string(resource("comparison.html.j2")).render(
        style=Markup(resource("report.css")),
        runs=[
            {"name": name, "model": record.model, "battery": record.battery, "run": record.run}
            | {"answer": str(record.answer.get("sentence", ""))}
            for name, record in runs
        ],
        names=[name for name, _ in runs],
        verdicts=verdicts,
        notes=notes,
        figures=drawn,
        maps=list(_map_rows(rows)),
    )
    path = folder / "comparison.html"
    write_atomic(path, page.encode("utf-8"))
    return path


def _map_rows(rows: pd.DataFrame) -> Iterator[dict[str, str]]:
    """The maps' rows in words."""
    told = {
        "map_r2": "variance of held-out texts that the map tells",
        "carried_auroc": "AUROC of a probe read through the map",
    }
    for metric, what in told.items():
        if not holds(rows, metric=metric):
            continue
        own = select(rows, metric=metric)
        for at in range(len(own)):
            row = own.iloc[[at]]
            task = word(row, "task")
            yield {
                "pair": f"{word(row, 'first')} → {word(row, 'second')}",
                "what": f"{task}: {what}" if task else what,
                "map": word(row, "method"),
                "fitted_on": word(row, "fitted_on"),
                "value": measured(row),
                "n": decimals(float(row["n"].iloc[0]), 0),
            }
