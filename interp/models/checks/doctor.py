"""Self-checks of a loaded model: are its sites what their names say, and do masks, cache and hooks
behave, in the precision that is run?

Each check is a row {check, passed, value, bound, means, sites, refuses}. `value` is a count, or the
worst error found, relative to the largest magnitude of what it is held against; `sites` names where
it failed, and `refuses` the methods that rely on it. The checks themselves are in `site_checks` and
`model_checks`.

The brief ones run each time a model is loaded. One that fails of the whole model, or of the
residual stream itself, refuses the model; one that fails of other sites is told, and what relies on
these sites is refused when it is asked for (`reliance`).
"""

import warnings
from collections.abc import Sequence

import torch

from interp.errors import ArtefactError, DataError, InternalError, UsageError
from interp.models.checks import versions
from interp.models.checks.model_checks import MODEL_CHECKS, measured_whole, whole_bound
from interp.models.checks.probe import Gap, offered, widest
from interp.models.checks.reliance import relying_on
from interp.models.checks.site_checks import bound_of, look_at
from interp.models.language_model import LanguageModel
from interp.results import TableRow
from interp.sites import Site

_MEANS = {
    "shapes": "a site's tensor is not what its name says",
    "residual identity": "attn_out and mlp_out are not what is added",
    "head sum": "z @ W_O is not attn_out",
    "neuron sum": "post @ W_out is not mlp_out",
    "edits act": "a site can be edited without effect, or with another than its name says",
}
_COUNTED = ("shapes", "edits act")
"""Checks whose row counts the sites that fail; of the others it tells the worst error."""


def confirm(model: LanguageModel) -> None:
    """Run the brief checks. Raise with check, value and bound when one fails that the whole model
    rests on: `ArtefactError` where a library is installed in a version that was not tried, and else
    `InternalError`; `DataError` for a model that gives no finite numbers, `UsageError` for one
    whose bridge does not run or shows no residual stream.

    Warns of sites that cannot be trusted, and of a version that was not tried and passes.
    """
    if model.known is not None and not torch.isfinite(model.known.logits).all():
        raise DataError(
            f"{model.name} gives logits that are not finite on a few tokens, without its bridge too"
            f": its weights are damaged, or {model.dtype} cannot hold its numbers. Try float32, or "
            "download it again."
        )
    failed = [row for row in examine(model, thorough=False) if not row["passed"]]
    fatal = [row for row in failed if row["check"] in MODEL_CHECKS or row["check"] == "edits act"]
    strange = versions.untried()
    if fatal:
        told = "; ".join(map(_told, fatal))
        here = f"Installed: {versions.installed()}; known to work: {versions.tried()}."
        if strange:
            raise ArtefactError(f"{model.name}: {told}. {here} Run: {versions.remedy()}")
        see = f"`interp doctor {model.name}` shows all checks."
        raise InternalError(f"{model.name}: {told}. {here} {see}")
    for row in failed:
        warnings.warn(
            f"{model.name}: {row['means']} at {row['sites']} ({row['check']}: {row['value']:.1e} > "
            f"{row['bound']:.0e}). Refused there: {row['refuses']}.",
            stacklevel=3,
        )
    if strange:
        warnings.warn(
            f"interp was not tried with {', '.join(strange)} (tried: {versions.tried()}). "
            f"The self-checks of {model.name} pass.",
            stacklevel=3,
        )


def examine(model: LanguageModel, *, thorough: bool = True) -> list[TableRow]:
    """Rows {check, passed, value, bound, means, sites, refuses}, one per check, all looked at anew.

    Checks of sites come first. Brief: residual identity and shapes in every layer, and an edit of
    the stream in the middle. Thorough: every site of the first, the middle and the last layer is
    edited, and heads and neurons are summed in every layer, but for quantised matrices, which
    cannot be read. Raises `UsageError` for a model whose bridge does not run, or shows no residual
    stream.
    """
    model.proofs.clear()
    model.rounding = None
    middle = model.dims.n_layers // 2
    everywhere = range(model.dims.n_layers)
    edited = [Site("resid_post", middle)]
    if thorough:
        edited = offered(model, sorted({0, middle, everywhere[-1]}))
    wanted = {
        "residual identity": [Site("attn_out", layer) for layer in everywhere],
        "shapes": offered(model, everywhere),
        "edits act": edited,
    }
    if thorough and not model.quantised:
        for check, name in (("head sum", "z"), ("neuron sum", "post")):
            wanted[check] = [site for site in offered(model, everywhere) if site.name == name]
    model.passing = {}  # one pass over the probe serves all checks
    try:
        look_at(model, "shapes", wanted["shapes"])
        _require_stream(model)
        rows = [_site_row(model, check, sites) for check, sites in wanted.items() if sites]
        whole = [name for name in MODEL_CHECKS if name != "plain Hugging Face" or model.known]
        return rows + [_whole_row(model, check) for check in whole]
    finally:
        model.passing = None


def _require_stream(model: LanguageModel) -> None:
    """Raise `UsageError` where the residual stream of a layer cannot be seen: all rests on it."""
    layers = range(model.dims.n_layers)
    stream = [Site(name, layer) for layer in layers for name in ("resid_pre", "resid_post")]
    unseen = [site for site, found in look_at(model, "shapes", stream).items() if found.error]
    if unseen:
        found = model.proofs["shapes", unseen[0]]
        raise UsageError(
            f"{model.name}: the residual stream cannot be read: {found.found} passes at "
            f"{unseen[0]}, and not {found.expected}. Every method here rests on it; "
            "TransformerLens's bridge does not show it for this kind of model."
        )


def _told(row: TableRow) -> str:
    numbers = f"{row['value']:.1e} > {row['bound']:.0e}"
    return f"{row['check']} self-check failed {numbers}: {row['means']}"


def _site_row(model: LanguageModel, check: str, sites: Sequence[Site]) -> TableRow:
    found, bound = look_at(model, check, sites), bound_of(model, check)
    bad = [site for site, one in found.items() if not one.error <= bound]
    if check in _COUNTED:
        return _row(check, float(len(bad)), 0.0, _MEANS[check], bad)
    return _row(check, widest(list(found.values())).error, bound, _MEANS[check], bad)


def _whole_row(model: LanguageModel, check: str) -> TableRow:
    found: Gap = measured_whole(model, check)
    return _row(
        check, found.error, whole_bound(model, check, found.error), MODEL_CHECKS[check].means, []
    )


def _row(check: str, value: float, bound: float, means: str, bad: Sequence[Site]) -> TableRow:
    passed = bool(value <= bound)
    told = ", ".join(map(str, bad[:3])) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
    return {
        "check": check,
        "passed": passed,
        "value": float(value),
        "bound": float(bound),
        "means": means,
        "sites": told,
        "refuses": "" if passed else ", ".join(relying_on(check)),
    }
