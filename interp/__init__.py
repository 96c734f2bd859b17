"""interp: mechanistic interpretability of emotion in language models.

Rooms are imported when they are first named (`interp.models.load(...)`), so that `import interp` costs nothing.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_ROOMS = ("analysis", "capture", "causal", "evaluation", "models", "reporting", "results", "sites", "study", "testbeds")


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"interp.{name}")
    raise AttributeError(f"module 'interp' has no attribute {name!r}; it has {', '.join(_ROOMS)}")


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
