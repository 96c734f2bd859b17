"""What the tests hold signatures to: the first calls of each function in each test."""

from dataclasses import dataclass

import jaxtyping
import numpy as np
import pytest
from beartype import beartype
from jaxtyping import Float, TypeCheckError

from interp.stats import numbered
from support.type_checks import CALLS, begin_test

RIGHT, WRONG = np.ones((2, 3)), np.ones((2, 2))


def total(x: Float[np.ndarray, "row 3"]) -> float:
    return float(x.sum())


@pytest.fixture
def checked():
    return jaxtyping.jaxtyped(typechecker=beartype)(total)


def test_a_wrong_shape_is_refused_in_the_first_calls_of_a_test(checked):
    assert checked(RIGHT) == 6.0
    for _ in range(CALLS - 1):
        with pytest.raises(TypeCheckError, match="checking the parameters of test_type_checks"):
            checked(WRONG)
    assert checked(WRONG) == 4.0
    begin_test()
    with pytest.raises(TypeCheckError):
        checked(WRONG)


def test_what_a_class_is_made_of_is_checked():
    @jaxtyping.jaxtyped(typechecker=beartype)
    @dataclass
    class Made:
        x: Float[np.ndarray, " row"]

    assert Made(np.ones(2)).x.sum() == 2
    with pytest.raises(TypeCheckError):
        Made(WRONG)


def test_the_package_is_checked():
    with pytest.raises(TypeCheckError, match=r"interp\.stats"):
        numbered(3)  # type: ignore[arg-type]
