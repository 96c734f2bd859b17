"""Names of a package that are imported when they are first used, so that importing it is quick."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

Door = tuple[Callable[[str], Any], Callable[[], list[str]]]
"""A package's `__getattr__` and `__dir__`."""


def exports(package: str, home: Mapping[str, str]) -> Door:
    """The door of a package that offers the names in `home`, and its own modules.

    `home` says which module defines a name: "a.b", or "a.b:other" where it is called `other` there.
    """

    def get(name: str) -> Any:
        if name in home:
            module, _, own = home[name].partition(":")
            return getattr(importlib.import_module(module), own or name)
        if name in _modules(package):
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home, *_modules(package)})

    return get, names


def _modules(package: str) -> set[str]:
    found = pkgutil.iter_modules(sys.modules[package].__path__)
    return {module.name for module in found if not module.name.startswith("_")}
