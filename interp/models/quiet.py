"""What transformers says: kept off the terminal, told as warnings of ours, and quoted in errors by
its first line.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

_REPORT = "LOAD REPORT"
"""What stands in transformers' list of tensors that are missing or left over: whoever reads weights
here asks for that list itself, and refuses what is wrong in it.
"""


@contextmanager
def quietly() -> Iterator[None]:
    """Transformers' and accelerate's bars and advice stay off the terminal meanwhile.

    What transformers warns of (a tokenizer known to be wrong, a setting that makes no sense, a
    fallback) is a warning of Python's at the end, each once: so a study keeps it.
    """
    root = transformers_logging.get_logger("transformers")
    before, level, propagate = root.handlers[:], root.level, root.propagate
    bars = transformers_logging.is_progress_bar_enabled()
    placing = logging.getLogger("accelerate")
    placing_level = placing.level
    heard = _Heard(logging.WARNING)
    placing.setLevel(logging.ERROR)
    root.handlers[:] = [heard]
    root.setLevel(logging.WARNING)
    root.propagate = False
    transformers_logging.warning_once.cache_clear()  # what it said of the model before
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        placing.setLevel(placing_level)
        root.handlers[:] = before
        root.setLevel(level)
        root.propagate = propagate
        if bars:
            transformers_logging.enable_progress_bar()
    for said in heard.texts:
        warnings.warn(f"transformers warns: {said}", stacklevel=1)


class _Heard(logging.Handler):
    """Keeps what is logged, each text once."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.texts: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        said = " ".join(record.getMessage().split())
        if _REPORT not in said:
            self.texts[said[:600]] = None


def first_line(error: BaseException, *, most: int = 200) -> str:
    """What an error says in its first line, cut after `most` characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:most]
