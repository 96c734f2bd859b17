"""Commands about a model alone: what it offers, whether that can be trusted, what the methods find where all is known."""

import sys
from typing import Any

import click

from interp.cli.options import as_json, dtype, model_argument, model_options, seed
from interp.cli.printing import show


@click.command()
@model_argument
@model_options
@dtype
@as_json
def doctor(model: str, as_json: bool, **how: Any) -> None:
    """Check that a model's sites can be trusted, in the precision that will be run; exit code 1
    when a check fails.
    """
    from interp import models
    from interp.models.doctor import examine

    checks = examine(models.load(model, check=False, chat_template="off", **how), thorough=True)
    show(checks, as_json=as_json)
    sys.exit(0 if all(check["passed"] for check in checks) else 1)


@click.command()
@model_argument
@model_options
@as_json
def sites(model: str, offline: bool, device: str, as_json: bool) -> None:
    """List the sites a model offers, with their shapes."""
    from interp import models

    show(models.load(model, device=device, offline=offline, chat_template="off").sites(), as_json=as_json)


@click.command()
@seed
@as_json
def truth(seed: int, as_json: bool) -> None:
    """Run every method on models whose circuit is known, and say how much of it each recovers."""
    from interp.evaluation.truth import check_truth

    show(check_truth(seed=seed), as_json=as_json)


COMMANDS = (doctor, sites, truth)
