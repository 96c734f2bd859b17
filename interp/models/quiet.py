"""What transformers says: kept off the terminal, and quoted in errors by its first line."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quietly() -> Iterator[None]:
    """Transformers' and accelerate's bars and advice stay off the terminal meanwhile.

    What matters is raised or recorded.
    """
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    placing = logging.getLogger("accelerate")
    level = placing.level
    placing.setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        placing.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def first_line(error: BaseException, *, most: int = 200) -> str:
    """What an error says in its first line, cut after `most` characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:most]
