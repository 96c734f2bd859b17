"""Families x methods: is what a method says what Hugging Face computes, or is it refused?

Each family is a tiny random model (`interp.testbeds.families`). Each method is asked first whether
it may be used (`interp.models.checks.reliance`); where it may, its numbers are held against those
that torch's own forward hooks give on the plain Hugging Face model
(`interp.evaluation.comparisons`).
"right": equal up to rounding. "refused": an error says why. "wrong": there are numbers, and they
are false; no family may have this word, and the test of the table fails where one has.
"""

import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interp.errors import InterpError, UsageError
from interp.evaluation.comparisons import METHODS, Examined, Trial
from interp.evaluation.plainly import Plain
from interp.models import load
from interp.models.checks.reliance import refusal
from interp.sites import Site
from interp.testbeds.families import FAMILIES
from interp.testbeds.family_folders import make_model_folder

PRECISIONS = ("float32", "bfloat16")
TOLERANCES = {"float32": 2e-4, "bfloat16": 6e-2}
"""Largest difference from Hugging Face's numbers, relative to the largest of them."""

WHOLE = "the whole model: "
"""How the reason begins where a model is refused when it is loaded."""


class Outcome(NamedTuple):
    """What became of a method on a model: a word, and what it rests on."""

    word: str
    why: str


def tabulate(
    names: Iterable[str] = (), *, dtypes: Sequence[str] = PRECISIONS
) -> list[dict[str, Any]]:
    """A row per family, precision and method: {family, dtype, method, word, why}; all families by
    default. Raises `UsageError` for a family that is not among them.
    """
    chosen = tuple(names) or tuple(FAMILIES)
    unknown = [name for name in chosen if name not in FAMILIES]
    if unknown:
        raise UsageError(f"unknown family {unknown[0]!r}: expected some of {', '.join(FAMILIES)}.")
    rows: list[dict[str, Any]] = []
    for family in chosen:
        with tempfile.TemporaryDirectory() as folder:
            path = make_model_folder(family, Path(folder) / family)
            for dtype in dtypes:
                rows += [
                    {"family": family, "dtype": dtype, "method": method, **verdict._asdict()}
                    for method, verdict in judge(path, dtype=dtype).items()
                ]
    return rows


def judge(folder: Path, *, dtype: str) -> dict[str, Outcome]:
    """The verdict of each method on the model in `folder`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sites that are refused: the table tells them
            model = load(str(folder), dtype=dtype)
    except InterpError as error:
        told = str(error).replace(f"{folder}: ", "").replace(f"{folder} ", "")
        whole = Outcome("refused", f"{WHOLE}{told.split('. ')[0].rstrip('.')}")
        return dict.fromkeys(METHODS, whole)
    plain = Plain(model.plain(), n_layers=model.dims.n_layers, d_model=model.dims.d_model)
    trial = Trial(model, plain, TOLERANCES[dtype])
    return {name: _tried(trial, method) for name, method in METHODS.items()}


def _tried(trial: Trial, method: Examined) -> Outcome:
    sites = [Site(name, at) for name in method.names for at in range(trial.model.dims.n_layers)]
    refused = refusal(trial.model, method.relies, sites)
    if refused is not None:
        return Outcome("refused", refused.check)
    error = method.compare(trial)
    if not error <= trial.close:
        return Outcome("wrong", f"error {error:.1e}, bound {trial.close:.0e}")
    return Outcome("right", "")
