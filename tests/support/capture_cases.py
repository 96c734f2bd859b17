"""What the capture tests share: a small battery of texts of mixed length, and a store written from
it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import interp.capture
from interp.capture import ActivationStore, Options
from interp.models import LanguageModel
from stimuli.battery import NEUTRAL, Battery, Stimulus
from support.tiny_models import WORDS

SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "pre", "post")
FEW = ("resid_post@0-1", "blocks.1.attn.hook_z")


def battery(n_pairs: int = 6, *, name: str = "small") -> Battery:
    """Pairs of texts of 4 to about 30 words, each with a `seen` span on its second word."""
    words = [word for word in dict.fromkeys(WORDS) if word.isalpha()]
    items = []
    for pair in range(n_pairs):
        for arm, emotion in (("keyword_free", "joy"), (NEUTRAL, NEUTRAL)):
            length = 4 + (7 * pair + 3 * (arm == NEUTRAL)) % 27
            chosen = [
                words[(11 * pair + 5 * place + (arm == NEUTRAL)) % len(words)]
                for place in range(length)
            ]
            text = " ".join(chosen)
            start = len(chosen[0]) + 1
            fields = {"seen": [start, start + len(chosen[1])]}
            items.append(
                Stimulus(f"{pair}-{arm}", text, emotion, arm=arm, pair=f"p{pair}", fields=fields)
            )
    return Battery(name, tuple(items))


WHERE = ("sites", "positions", "out")


def capture(model: LanguageModel, battery: Battery, **asked: Any) -> ActivationStore:
    """`interp.capture.capture`, the fields of its options given one by one."""
    where = {name: asked[name] for name in WHERE if name in asked}
    given = {name: value for name, value in asked.items() if name not in WHERE}
    reuse: Sequence[Path] = given.pop("reuse", ())
    options = Options(**given, reuse=tuple(reuse))
    return interp.capture.capture(model, battery, **where, options=options)


def write_store(model: LanguageModel, out: Path, **options: object) -> ActivationStore:
    """A small store of several shards: one batch a shard."""
    settings = {"sites": FEW, "token_budget": 48, "shard_batches": 1, **options}
    return capture(model, battery(), out=out, **settings)


def tree(out: Path) -> dict[str, bytes]:
    """The bytes of every file of a run, the lock left out."""
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and "LOCK" not in p.name
    }
