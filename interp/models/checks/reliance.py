"""What each method relies on, and the proof of it before the numbers.

One table says it all. `require` looks at the layers that a method will read or edit, once per
model and site, in the precision that is run: a few passes over a few tokens. What does not hold is
refused with the site, the two numbers, and what can be asked instead; other sites stay usable.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from interp.errors import UsageError
from interp.models.checks import versions
from interp.models.checks.model_checks import MODEL_CHECKS, measured_whole, whole_bound
from interp.models.checks.probe import Gap
from interp.models.checks.site_checks import SITE_CHECKS, bound_of, look_at
from interp.models.language_model import LanguageModel
from interp.sites import SITE_NAMES, Site


class Reliance(NamedTuple):
    """What a method relies on: checks of the sites that it names, and checks of the whole model."""

    sites: Mapping[str, tuple[str, ...]]
    whole: tuple[str, ...]


_ADDED = ("attn_out", "mlp_out")
_EDITED = tuple(name for name in SITE_NAMES if name != "pattern")

_WRITING = ("batch, left padding", "cache under an edit", "hooks removed", "plain Hugging Face")

RELIES_ON: Mapping[str, Reliance] = {
    "capture": Reliance(
        {"shapes": SITE_NAMES, "residual identity": _ADDED},
        ("batch, right padding", "plain Hugging Face"),
    ),
    "contributions": Reliance(
        {
            "shapes": ("z", "post"),
            "head sum": ("z",),
            "neuron sum": ("post",),
            "residual identity": ("z", "post"),
        },
        (),
    ),
    "patching": Reliance(
        {"shapes": SITE_NAMES, "residual identity": _ADDED, "edits act": _EDITED},
        _WRITING,
    ),
    "ablation": Reliance(
        {"shapes": SITE_NAMES, "residual identity": _ADDED, "edits act": _EDITED},
        _WRITING,
    ),
    "steering": Reliance(
        {"shapes": SITE_NAMES, "residual identity": _ADDED, "edits act": _EDITED},
        _WRITING,
    ),
    "generation": Reliance({}, _WRITING),
}
"""Each method, and what it relies on."""

INSTEAD: Mapping[str, str] = {
    "capture": "Capture resid_pre or resid_post of that layer",
    "contributions": "Probes, directions, patching and steering of the stream do not rest on it",
    "patching": "Patch resid_pre or resid_post, which do not rest on it",
    "ablation": "Patch resid_pre or resid_post, or ablate in other layers",
    "steering": "Steer at resid_pre or resid_post",
    "generation": "Capture, probes and directions do not rest on it",
}
"""What can be asked where a method is refused at a site."""

_WHOLE_INSTEAD = "Load the model in float32, or with versions that were tried:"


class Refusal(NamedTuple):
    """Why a method is not to be used: the check that says so, and a sentence for people."""

    check: str
    text: str


def require(model: LanguageModel, method: str, sites: Sequence[Site]) -> None:
    """Raise `UsageError` unless all that `method` relies on holds at `sites`, and of the model."""
    refused = refusal(model, method, sites)
    if refused is not None:
        raise UsageError(refused.text)


def refusal(model: LanguageModel, method: str, sites: Sequence[Site]) -> Refusal | None:
    """Why `method` is not to be used at these sites of the model; None where it may be."""
    lacking = [site for site in sites if not model.offers(site)]
    if lacking:
        return Refusal("not offered", absent(model, lacking[0]))
    needs = RELIES_ON[method]
    fixed = [site for site in sites if site.name in model.read_only]
    if fixed and "edits act" in needs.sites:
        why = f"{fixed[0]} is read-only here: what is put there does not reach what is behind it"
        return _refused(model, method, "read-only", why)
    for check in needs.whole:
        found = measured_whole(model, check)
        bound = whole_bound(model, check, found.error)
        if not found.error <= bound:
            why = f"{MODEL_CHECKS[check].means} ({_numbers(check, found, bound)})"
            text = f"{model.name}: {method} is refused: {why}. {_WHOLE_INSTEAD} {versions.tried()}."
            return Refusal(check, text)
    for check, names in needs.sites.items():
        found_at = look_at(model, check, [site for site in sites if site.name in names])
        bound = bound_of(model, check)
        worst = max(found_at, key=lambda site: found_at[site].error, default=None)
        if worst is not None and not found_at[worst].error <= bound:
            found = found_at[worst]
            means = SITE_CHECKS[check].means
            told = means.format(site=worst, found=found.found, expected=found.expected)
            return _refused(model, method, check, f"{told} ({_numbers(check, found, bound)})")
    return None


def usable(
    model: LanguageModel,
    method: str,
    sites: Sequence[Site],
) -> tuple[list[Site], dict[Site, str]]:
    """Those of `sites` at which `method` may be used, and why it is refused at the others."""
    there = [site for site in sites if model.offers(site)]
    for check, names in RELIES_ON[method].sites.items():  # all sites in one go: few passes
        look_at(model, check, [site for site in there if site.name in names])
    refused = {site: why.text for site in sites if (why := refusal(model, method, [site]))}
    return [site for site in sites if site not in refused], refused


def tell_refused(refused: Mapping[Site, str]) -> str:
    """One sentence of what is refused and why, the first site of each kind for all of it."""
    kinds: dict[str, list[Site]] = {}
    for site in refused:
        kinds.setdefault(site.name, []).append(site)
    told = []
    for name, sites in kinds.items():
        told.append(f"{name} is left out in {len(sites)} layers: {refused[sites[0]]}")
    return " ".join(told)


def absent(model: LanguageModel, site: Site) -> str:
    """What to say of a site that a model lacks."""
    if model.hides(site):
        why = "its MLP shows no neurons there (a mixture of experts, or not taken apart)"
        return f"{model.name} has no {site}: {why}. {_instead(model, 'contributions')}"
    return f"{model.name} has no {site}, as `interp sites {model.name}` lists."


def relying_on(check: str) -> list[str]:
    """The methods that rely on a check."""
    needs = RELIES_ON.items()
    return [method for method, its in needs if check in its.sites or check in its.whole]


def _refused(model: LanguageModel, method: str, check: str, why: str) -> Refusal:
    return Refusal(check, f"{model.name}: {method} is refused: {why}. {_instead(model, method)}")


def _numbers(check: str, found: Gap, bound: float) -> str:
    return f"{check}: error {found.error:.1e}, bound {bound:.0e}"


def _instead(model: LanguageModel, method: str) -> str:
    return f"{INSTEAD[method]}. `interp doctor {model.name}` shows all checks."
