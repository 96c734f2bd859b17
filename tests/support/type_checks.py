"""Types and shapes are checked in the first calls of each function in each test, and not behind
them: in loops of thousands of calls the checks took more time than all else. The checks of a
function are made when it is first called.
"""

import dataclasses
import functools
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import jaxtyping

CALLS = 25
"""So many calls of each function are checked in a test."""

_calls: Counter[int] = Counter()
"""How often each function was called in the test that runs."""


def begin_test() -> None:
    """The calls of every function are counted anew."""
    _calls.clear()


def check_first_calls() -> None:
    """What is imported from here on is checked so: jaxtyping's import hook asks for its decorator
    by this name.
    """
    jaxtyping.jaxtyped = functools.partial(_decorator, jaxtyping.jaxtyped)


def _decorator(jaxtyped: Callable[..., Any], *, typechecker: Any) -> Callable[[Any], Any]:
    check = functools.partial(jaxtyped, typechecker=typechecker)

    def decorate(made: Any) -> Any:
        if inspect.isfunction(made):
            return _first_calls(made, check)
        if dataclasses.is_dataclass(made) and "__init__" in vars(made):
            made.__init__ = _first_calls(made.__init__, check)
            return made
        return check(made)

    return decorate


def _first_calls(plain: Callable[..., Any], check: Callable[..., Any]) -> Callable[..., Any]:
    checked = functools.cache(lambda: check(plain))

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        _calls[key] += 1
        return (checked() if _calls[key] <= CALLS else plain)(*args, **kwargs)

    key = id(call)
    return call
