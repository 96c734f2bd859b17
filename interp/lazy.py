"""What is known without importing it, so that a command starts at once: the names of a package,
imported when they are first used, and the names in a table.
"""

import ast
import importlib
import importlib.util
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


def keys_of(table: str) -> tuple[str, ...]:
    """The keys of "module:TABLE", a dictionary that is written out in its module.

    A module that was imported is asked, since a table may have grown; of another one only the
    source is read, since what it imports may take seconds. Where the table is not written out, or
    there is no source, the module is imported.
    """
    module, _, name = table.partition(":")
    keys = None if module in sys.modules else _written_keys(module, name)
    return tuple(getattr(importlib.import_module(module), name)) if keys is None else keys


def _written_keys(module: str, name: str) -> tuple[str, ...] | None:
    """The keys of the dictionary that `module` gives to `name`, if all are plain texts."""
    found = importlib.util.find_spec(module)
    loader: Any = None if found is None else found.loader
    for node in ast.parse(loader.get_source(module) or "").body if loader else ():
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in [one.id for one in targets if isinstance(one, ast.Name)]:
                keys = [getattr(key, "value", None) for key in node.value.keys]
                plain = all(isinstance(key, str) for key in keys)
                return tuple(map(str, keys)) if plain else None
    return None
