"""The command `features`: a sparse autoencoder's features on a finished run."""

from pathlib import Path
from typing import Any

import click

from interp.cli.loading import refuse_at_once
from interp.cli.options import Choices, as_json, options, seed
from interp.cli.printing import records, show_said
from interp.options import About
from interp.sites import LAST

_ACTIVATION = About(help="", choices="interp.analysis.autoencoders:ACTIVATIONS")

_SHOWN = 2
"""Texts of a feature that are printed for people; --json and the table give more."""

_WHAT = options(
    click.option(
        "--sae",
        required=True,
        type=click.Path(path_type=Path),
        help="A safetensors file, or a folder of SAELens (cfg.json, sae_weights.safetensors).",
    ),
    click.option(
        "--out", required=True, type=click.Path(path_type=Path), help="A new folder for the result."
    ),
    click.option("--site", help="Where its vectors are, if the file does not say or says wrongly."),
    click.option(
        "--position", default=LAST, show_default=True, help="last or last_content: which token."
    ),
    click.option(
        "--activation", type=Choices(_ACTIVATION), help="For a file that does not say it."
    ),
    click.option("--k", type=click.IntRange(1), help="Of topk, for a file that does not say it."),
)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@_WHAT
@seed
@as_json
def features(run: Path, sae: Path, out: Path, as_json: bool, **how: Any) -> None:
    """Which features of a sparse autoencoder know an emotion, in the activations of a finished RUN?

    Chosen on one half of the scenarios and told of the other, beside the best single word, the text
    baselines and shuffled labels; with the texts in which each feature is most active.

    \b
      interp features runs/demo --sae sae.safetensors --site blocks.5.hook_resid_post --out feats
    """
    refuse_at_once(out)
    from interp.reporting.sae_features import said_of_features
    from interp.study.features import FEATURE_TEXTS, FEATURES, run_features

    tables = run_features(run, sae, out=out, **how)
    said, rows, texts = said_of_features(tables[FEATURES]), tables[FEATURES], tables[FEATURE_TEXTS]
    best = rows[rows["metric"] == "ranked"]
    ranked = records(best, "task emotion rank feature value chosen_auroc active")
    shown = records(texts, "task emotion feature rank value of text")
    few = [one for one in shown if as_json or one["rank"] <= _SHOWN]
    show_said(said, out, as_json=as_json, features=ranked, texts=few)


COMMANDS = (features,)
