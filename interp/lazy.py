"""Names of a package that are imported when they are first used, so that importing it is quick."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping
from typing import Any


def exports(package: str, home: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that offers the names in `home`, each with the full
    name of the module that defines it, and its own modules.
    """

    def get(name: str) -> Any:
        if name in home:
            return getattr(importlib.import_module(home[name]), name)
        if name in _modules(package):
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home, *_modules(package)})

    return get, names


def _modules(package: str) -> set[str]:
    found = pkgutil.iter_modules(sys.modules[package].__path__)
    return {module.name for module in found if not module.name.startswith("_")}
