"""Edits against their closed forms: each one computed a second way, on single tokens, in numpy."""

import math

import numpy as np
import pytest
import torch

from interp.causal.edits import (
    EDITS,
    Selected,
    add,
    blend,
    erase,
    exchange,
    project_out,
    replace,
    rotate,
    scale_by,
    set_to,
    set_to_mean,
    zero,
)
from interp.errors import ArtefactError, UsageError

RNG = np.random.default_rng(0)
X = torch.from_numpy(RNG.standard_normal((5, 6)).astype(np.float32))
AT = Selected(torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 1, 1, 0, 2]))
V = RNG.standard_normal(6)
U = V / np.linalg.norm(V)
P = RNG.standard_normal((6, 6))

MADE = {
    "add": lambda: add(V, scale=2.0),
    "set_to": lambda: set_to(V, value=3.0),
    "project_out": lambda: project_out(V),
    "erase": lambda: erase(P, centre=V),
    "rotate": lambda: rotate(V, angle=0.3),
    "replace": lambda: replace(V),
    "exchange": lambda: exchange(np.stack([V - 1, V]), torch.ones(3, 3, dtype=torch.long)),
    "blend": lambda: blend(np.stack([V - 1, V]), torch.ones(3, 3, dtype=torch.long), share=0.25),
    "scale_by": lambda: scale_by(0.5),
    "mean": lambda: set_to_mean(np.stack([V, V + 2])),
    "zero": lambda: zero(),
}
CLOSED = {
    "add": lambda x: x + 2.0 * V,
    "set_to": lambda x: x + (3.0 - x @ U) * U,
    "project_out": lambda x: x - (x @ U) * U,
    "erase": lambda x: x - P @ (x - V),
    "rotate": lambda x: _turned(x, 0.3),
    "replace": lambda x: V,
    "exchange": lambda x: V,
    "blend": lambda x: 0.75 * x + 0.25 * V,
    "scale_by": lambda x: 0.5 * x,
    "mean": lambda x: V + 1,
    "zero": lambda x: 0 * x,
}


def _turned(x, angle):
    """Rotation by Rodrigues in the plane's own basis (Gram-Schmidt), towards U."""
    first = x / np.linalg.norm(x)
    second = U - (U @ first) * first
    second /= np.linalg.norm(second)
    return np.linalg.norm(x) * (math.cos(angle) * first + math.sin(angle) * second)


def test_every_edit_of_the_table_is_tested():
    assert set(MADE) == set(CLOSED) == set(EDITS)


@pytest.mark.parametrize("name", EDITS)
def test_edit_equals_its_closed_form(name):
    before = X.clone()
    out = MADE[name]()(X, AT)
    expected = np.stack([CLOSED[name](x) for x in X.double().numpy()])
    assert torch.equal(X, before), "an edit must not change its input"
    assert np.abs(out.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", EDITS)
def test_edit_keeps_shape_and_dtype(name, dtype):
    out = MADE[name]()(X.to(dtype), AT)
    assert out.shape == X.shape
    assert out.dtype == dtype


def test_arrays_a_row_and_a_position():
    rows = torch.arange(18.0).reshape(3, 6)
    cells = torch.arange(54.0).reshape(3, 3, 6)
    assert torch.equal(replace(rows)(X, AT), rows[[0, 0, 1, 2, 2]])
    assert torch.equal(
        replace(cells)(X, AT),
        torch.stack([cells[0, 0], cells[0, 1], cells[1, 1], cells[2, 0], cells[2, 2]]),
    )
    assert torch.equal(add(rows, scale=[1.0, 0.0, 2.0])(X, AT)[2], X[2])
    assert torch.allclose(
        add(rows, scale=torch.tensor([1.0, 0.0, 2.0]))(X, AT)[4], X[4] + 2 * rows[2]
    )
    assert torch.allclose(
        scale_by([2.0, 1.0, 0.0])(X, AT), X * torch.tensor([2.0, 2.0, 1.0, 0.0, 0.0])[:, None]
    )


def test_replace_of_some_units_leaves_the_others():
    z = torch.randn(3, 4, 2)
    units = torch.tensor([[True, False, False, True], [False] * 4])
    out = replace(torch.zeros(4, 2), units=units)(
        z, Selected(torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]))
    )
    assert out[0, [0, 3]].abs().max() == 0
    assert torch.equal(out[0, 1:3], z[0, 1:3])
    assert torch.equal(out[1], z[1])


def test_project_out_a_span_and_its_dependent_vectors():
    span = np.stack([V, P[0], V + P[0]])
    out = project_out(span)(X, AT).double().numpy()
    assert np.abs(out @ span.T).max() < 1e-5
    basis, _ = np.linalg.qr(span[:2].T)
    assert np.abs(out - (X.numpy() - X.numpy() @ basis @ basis.T)).max() < 1e-5


def test_rotate_keeps_the_norm_stops_at_the_vector_and_keeps_what_lies_on_it():
    assert torch.allclose(rotate(V, angle=1.0)(X, AT).norm(dim=-1), X.norm(dim=-1), rtol=1e-5)
    aligned = rotate(V, angle=math.pi)(X, AT)
    assert torch.allclose(
        aligned, X.norm(dim=-1, keepdim=True) * torch.from_numpy(U).float(), atol=1e-4
    )
    opposite = torch.from_numpy(-3 * U).float()[None]
    assert torch.equal(
        rotate(V, angle=0.5)(opposite, Selected(AT.row[:1], AT.position[:1])), opposite
    )


@pytest.mark.parametrize("scale", [math.inf, math.nan, -math.inf])
def test_a_strength_that_is_not_finite_is_refused(scale):
    for make in (
        lambda: add(V, scale=scale),
        lambda: add(V, scale=[1.0, scale]),
        lambda: set_to(V, value=scale),
        lambda: scale_by(scale),
    ):
        with pytest.raises(UsageError, match="finite"):
            make()
    with pytest.raises(UsageError, match="angle"):
        rotate(V, angle=scale)


def test_directions_without_length_or_with_nan_are_refused():
    for make in (lambda v: set_to(v, value=1.0), lambda v: rotate(v, angle=0.1), project_out):
        with pytest.raises(ArtefactError, match="zero"):
            make(np.zeros(6))
    for make in (
        add,
        project_out,
        replace,
        lambda v: erase(P, centre=v),
        lambda v: set_to(v, value=1.0),
    ):
        with pytest.raises(ArtefactError, match="not finite"):
            make(np.array([1.0, np.nan, 0, 0, 0, 0]))


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(ArtefactError, match="5 wide and the site 6"):
        add(np.ones(5))(X, AT)
    with pytest.raises(ArtefactError, match="5 wide and the site 6"):
        project_out(np.ones(5))(X, AT)
    with pytest.raises(UsageError, match="one per row"):
        replace(np.ones((2, 2, 2, 6)))(X, AT)
    with pytest.raises(UsageError, match="expected"):
        erase(np.ones((5, 6)), centre=V)
    with pytest.raises(UsageError, match="angle"):
        rotate(V, angle=-0.1)


def test_exchange_is_replace_with_shared_values():
    values = torch.from_numpy(RNG.standard_normal((4, 6)).astype(np.float32))
    place = torch.tensor([[3, 0, 1], [1, 1, 2], [0, 3, 2]])
    units = torch.tensor([[True] * 6, [False] * 6, [True, False] * 3])
    for chosen in (None, units):
        assert torch.equal(
            exchange(values, place, units=chosen)(X, AT),
            replace(values[place], units=chosen)(X, AT),
        )
