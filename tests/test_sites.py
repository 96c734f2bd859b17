"""Site names: every site survives writing and parsing, the unknown is refused with the nearest
names, layers are checked.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.errors import UsageError
from interp.sites import RESIDUAL_WIDE, SITE_NAMES, Site, expand, parse_layers, site_columns

HEADED = ("q", "k", "v", "z", "pattern")
sites = st.one_of(
    st.builds(Site, st.sampled_from(SITE_NAMES), st.integers(0, 200)),
    st.builds(Site, st.sampled_from(HEADED), st.integers(0, 200), st.integers(0, 200)),
)


@settings(max_examples=60, deadline=None)
@given(sites)
def test_parse_is_the_inverse_of_str(site: Site) -> None:
    assert Site.parse(str(site)) == site
    assert expand([str(site)], n_layers=site.layer + 1) == (site,)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=40)
    | st.from_regex(r"blocks\.\d{1,3}\.[a-z_.]{1,20}(\[\d{1,3}\])?", fullmatch=True)
)
def test_a_text_is_refused_or_read_back_as_itself(text: str) -> None:
    try:
        found = str(Site.parse(text))
    except UsageError as error:
        found = text if repr(text) in str(error) or "has no head" in str(error) else str(error)
    assert found == text


def test_names_are_transformer_lens_own() -> None:
    assert str(Site("resid_post", 5)) == "blocks.5.hook_resid_post"
    assert str(Site("z", 0, 3)) == "blocks.0.attn.hook_z[3]"
    assert Site("z", 0, 3).hook == "blocks.0.attn.hook_z"
    assert str(Site("post", 2)) == "blocks.2.mlp.hook_post"


def test_axes_say_what_passes() -> None:
    assert all(Site(name, 0).axes == ("batch", "pos", "d_model") for name in RESIDUAL_WIDE)
    assert Site("z", 0).axes == ("batch", "pos", "head", "d_head")
    assert Site("z", 0, 1).axes == ("batch", "pos", "d_head")
    assert Site("pattern", 0).axes == ("batch", "head", "query_pos", "key_pos")
    assert Site("pattern", 0, 1).axes == ("batch", "query_pos", "key_pos")
    assert Site("pre", 0).axes == Site("post", 0).axes == ("batch", "pos", "d_mlp")


def test_a_site_named_twice_is_told_and_taken_once() -> None:
    with pytest.warns(
        UserWarning, match=r"named twice, and taken once: blocks\.1\.hook_resid_post\."
    ):
        assert expand(["resid_post", "resid_post@1"], n_layers=3) == expand(
            ["resid_post"], n_layers=3
        )


def test_expand_takes_names_layers_and_full_names_each_once_in_order() -> None:
    found = expand(["mlp_out@1", "resid_post@0-1,1", "blocks.0.attn.hook_z[2]"], n_layers=2)
    assert [str(site) for site in found] == [
        "blocks.0.hook_resid_post",
        "blocks.0.attn.hook_z[2]",
        "blocks.1.hook_resid_post",
        "blocks.1.hook_mlp_out",
    ]
    assert expand(["resid_pre"], n_layers=3) == tuple(
        Site("resid_pre", layer) for layer in range(3)
    )


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("resid_pots", "resid_post"),
        ("blocks.0.hook_resid_pots", "resid_post"),
        ("mlp_uot@3", "mlp_out"),
        ("blocks.01.hook_resid_post", "resid_post"),
        ("hook_patern", "pattern"),
        ("???", "resid_pre"),
    ],
)
def test_an_unknown_site_is_told_with_the_nearest_names(text: str, near: str) -> None:
    """Row 30 of what bad input gets: a typo must not silently record nothing."""
    with pytest.raises(UsageError, match="unknown site") as caught:
        expand([text], n_layers=4)
    assert near in str(caught.value)
    assert "interp sites MODEL" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resid_post@12", r"layer 12 is out of range. The model has layers 0\.\.11"),
        ("resid_post@-1", r"layer -1 is out of range. The model has layers 0\.\.11"),
        ("resid_post@3-30", r"layer 30 is out of range"),
        ("blocks.12.hook_resid_post", r"layer 12 is out of range. The model has layers 0\.\.11"),
        ("resid_post@5-2", r"runs backwards: write 2-5"),
        ("resid_post@one", r"cannot read the layers 'one': write 3, or 0,2,5, or 1-4"),
        ("resid_post@1,,2", r"cannot read the layers"),
        ("resid_post@", r"cannot read the layers ''"),
    ],
)
def test_layers_that_the_model_lacks_are_refused(text: str, message: str) -> None:
    """Row 31: out of range, negative, reversed, unreadable."""
    with pytest.raises(UsageError, match=message):
        expand([text], n_layers=12)


def test_layers_are_read() -> None:
    assert parse_layers("3", n_layers=4) == (3,)
    assert parse_layers(" 2, 0-1,1", n_layers=4) == (0, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resid_past", 0), "did you mean resid_post"),
        (("resid_post", -1), "layers count from 0"),
        (("resid_post", 0, 1), "has no head 1"),
        (("z", 0, -1), "has no head -1"),
    ],
)
def test_impossible_sites_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Site(*arguments)


def test_place_of_a_site():
    assert site_columns(Site("z", 2, 1)) == {"site": "z", "layer": 2, "head": 1}
    assert site_columns(None)["site"] == ""
