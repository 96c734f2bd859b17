"""Options: how a capture is made. It imports nothing heavy, since commands show it in their
help.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from interp.options import about, check

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a capture is made. `OF_NO_WEIGHT` apart, all are part of the plan's identity.

    `token_budget`: tokens per batch, padding counted; a batch keeps no more than a shard's bytes
    either. `storage`: float32 or float16 (values beyond float16 stay float32). `on_nonfinite`: stop
    with an error, or quarantine the pair. `truncate`: cut texts longer than the context on this
    side (left or right; None refuses them). `allow_special`: accept special tokens inside texts.
    `shard_bytes` (as float32; None: as `packing.shard_bytes_for` chooses), `shard_batches`: a shard
    ends at whichever comes first. `attention`: fast (no pattern is computed) or eager. `executor`:
    who computes (see `workers.executors`): serial, processes:2, ray:2, or shard:0/4, one of four
    workers that share a folder. `reuse`: folders of earlier captures, from which the texts that
    they hold are copied.

    Raises `UsageError` for a value that is none of its choices, or below 1.
    """

    GROUP: ClassVar[str] = "Capture"
    OF_NO_WEIGHT: ClassVar[tuple[str, ...]] = ("on_nonfinite", "executor", "reuse")
    """Fields that change no activation: a run that stopped at a bad text may go on without it."""

    truncate: str | None = field(
        default=None,
        metadata=about(
            "Cut texts longer than the context on this side, in every stage.",
            choices=("left", "right"),
        ),
    )
    allow_special: bool = field(
        default=False,
        metadata=about("Accept texts that contain the tokenizer's special tokens."),
    )
    storage: str = field(
        default="float32",
        metadata=about("As what to store.", choices=("float32", "float16")),
    )
    on_nonfinite: str = field(
        default="stop",
        metadata=about(
            "What becomes of a text whose activations are not finite; quarantine leaves out its "
            "pair.",
            choices=("stop", "quarantine"),
        ),
    )
    token_budget: int = field(default=1024, metadata=about("Tokens per batch.", least=1))
    shard_bytes: int | None = field(
        default=None,
        metadata=about(
            "MiB per shard, as float32; unsaid, room for 64 texts, from 64 to 1024 MiB.",
            name="shard_mb",
            unit=MIB,
            least=1,
        ),
    )
    shard_batches: int = field(
        default=64,
        metadata=about("Batches per shard, at most.", least=1, flag=False),
    )
    attention: str = field(
        default="fast",
        metadata=about("Which attention is run.", choices=("fast", "eager"), flag=False),
    )
    executor: str = field(default="serial", metadata=about("Who computes.", flag=False))
    reuse: tuple[Path, ...] = field(
        default=(),
        metadata=about("An earlier run, to copy activations from; may be given several times."),
    )

    def __post_init__(self) -> None:
        check(self)
