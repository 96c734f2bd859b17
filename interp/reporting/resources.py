"""The files that lie beside these modules: templates, styles, data."""

from importlib import resources


def resource(name: str) -> str:
    """The text of a file beside this module."""
    return resources.files("interp.reporting").joinpath(name).read_text(encoding="utf-8")
