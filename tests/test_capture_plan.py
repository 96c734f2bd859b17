"""The plan: the same batches always, nothing packed over the budget, and requests refused before
any forward.
"""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.capture.estimate import estimate_capture
from interp.capture.options import MIB, Options
from interp.capture.packing import budget_batches, gather_shards, shard_bytes_for
from interp.capture.plan import make_plan
from interp.errors import ArtefactError, DataError, ResourceError, UsageError
from interp.models import load
from stimuli.battery import Battery, Stimulus
from support.capture_cases import FEW, battery, capture, write_store


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load(str(tiny_folder("llama")), check=False)


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=60), st.integers(1, 200), st.integers(1, 900)
)
def test_batches_hold_each_text_once_within_the_budget_and_a_shard(lengths, budget, most):
    held = [10 * length for length in lengths]
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    batches = budget_batches(lengths, held, order=order, token_budget=budget, most_bytes=most)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch, following in zip(batches, [*batches[1:], ()], strict=True):
        longest = max(lengths[place] for place in batch)
        kept = sum(held[place] for place in batch)
        assert len(batch) == 1 or (len(batch) * longest <= budget and kept <= most)
        if following:
            assert (len(batch) + 1) * longest > budget or kept + held[following[0]] > most
    flat = [lengths[place] for batch in batches for place in batch]
    assert flat == sorted(flat, reverse=True)


def test_shards_end_by_bytes_or_batches():
    sizes = [60, 60, 10, 10, 10, 10, 500, 1]
    found = gather_shards(sizes, most_bytes=100, most_batches=3)
    assert found == ((0,), (1, 2, 3), (4, 5), (6,), (7,))


def test_sorting_by_length_saves_padding(model):
    texts = Battery(
        "mixed",
        tuple(Stimulus(f"t{k}", " ".join(["dog"] * (4 + 26 * (k % 2))), "joy") for k in range(40)),
    )
    lengths = [len(row) for row in model.tokenize([item.text for item in texts])]
    told = estimate_capture(
        model,
        texts,
        sites=["resid_post"],
        positions=["last"],
        options=Options(token_budget=120),
        teraflops=1.0,
    )
    as_they_come = [lengths[i : i + 4] for i in range(0, 40, 4)]
    naive = 1 - sum(lengths) / sum(len(b) * max(b) for b in as_they_come)
    assert told["padding"] < 0.1 < naive


def test_the_digest_follows_everything_that_matters(model, tiny_folder):
    def plan(texts=None, *, sites=("resid_post",), positions=("last",), by=model, **options):
        texts = texts or battery(3)
        return make_plan(
            by, texts, sites=sites, positions=positions, options=Options(**options)
        ).digest

    same = plan()
    other = load(str(tiny_folder("mistral")), check=False)
    assert plan() == same == plan(by=load(str(tiny_folder("llama")), check=False))
    changed = [
        plan(battery(4)),
        plan(sites=("resid_pre",)),
        plan(positions=("mean_content",)),
        plan(token_budget=77),
        plan(storage="float16"),
        plan(by=other),
    ]
    assert same not in changed
    assert len(set(changed)) == len(changed)


def test_estimate_counts_what_a_capture_makes(model, tmp_path):
    texts = battery()
    settings = {"sites": FEW, "positions": ("last", "all"), "teraflops": 1.0}
    small = Options(token_budget=48, shard_batches=1)
    told = estimate_capture(model, texts, **settings, options=small)
    with write_store(model, tmp_path / "run", positions=("last", "all")) as store:
        arrays = [store.read(site, p).x for site in store.sites for p in store.positions]
        assert told["bytes"] == sum(x.nbytes for x in arrays)
        lengths = store.read(FEW[1], "all").lengths
        assert (told["rows"], told["tokens"], told["shards"]) == (
            len(texts),
            sum(lengths),
            store.head["n_shards"],
        )
    half = estimate_capture(model, texts, **settings, options=replace(small, storage="float16"))
    assert half["bytes"] == told["bytes"] // 2


def test_the_time_is_two_operations_a_weight_and_token_up_to_the_last_layer(model):
    def seconds(site, teraflops=1.0):
        return estimate_capture(
            model, battery(), sites=(site,), positions=("last",), teraflops=teraflops
        )["seconds"]

    told = estimate_capture(
        model, battery(), sites=("resid_post",), positions=("last",), teraflops=1.0
    )
    dims, tokens = model.dims, round(told["tokens"] / (1 - told["padding"]))
    matrices = dims.n_layers * (4 * dims.d_model**2 + 2 * dims.d_model * dims.d_mlp)
    # biases, norms and positions come on top
    assert told["seconds"] == pytest.approx(2 * matrices * tokens / 1e12, rel=0.25)
    assert seconds("resid_post@2") == pytest.approx(3 * seconds("resid_post@0"))
    assert seconds("resid_post@2", 2.0) == pytest.approx(seconds("resid_post@2") / 2)
    weights = sum(weight.numel() for weight in model.plain().parameters())
    assert told["weights_bytes"] == 4 * weights


def test_without_a_speed_this_machines_own_is_measured(model):
    told = estimate_capture(model, battery(), sites=("resid_post",), positions=("last",))
    assert 0 < told["seconds"] < 60
    assert 1e-4 < told["teraflops"] < 1e3


def one(text, **fields):
    return Battery("one", (Stimulus("odd one", text, "joy", fields=fields),))


LONG = " ".join(["dog"] * 200)


@pytest.mark.parametrize(
    ("texts", "request_", "error", "message"),
    [
        (one(LONG), {}, DataError, r"odd one.*201 tokens.*128"),
        (one("dog <eos> cat"), {}, DataError, "odd one.*<eos>"),
        (one("a dog"), {"positions": ("mean_from(20)",)}, DataError, "no token of text 'odd one'"),
        (
            one("a dog", seen=[9, 9]),
            {"positions": ("span(seen)",)},
            DataError,
            "odd one.*inside the text",
        ),
        (Battery("none", ()), {}, DataError, "0 texts"),
        (one("a dog"), {"sites": ("resid_pots",)}, UsageError, "did you mean resid_post"),
        (one("a dog"), {"sites": ("resid_post@12",)}, UsageError, r"layers 0\.\.2"),
        (one("a dog"), {"sites": ("resid_post@2-1",)}, UsageError, "backwards"),
        (one("a dog"), {"sites": ()}, UsageError, "nothing to capture"),
        (one("a dog"), {"sites": ("blocks.0.attn.hook_k[2]",)}, UsageError, r"heads 0\.\.1"),
        (one("a dog"), {"sites": ("pattern",), "positions": ("all",)}, UsageError, "pooled query"),
        (one("a dog"), {"positions": ("middle",)}, UsageError, "unknown position rule"),
        (one("a dog"), {"storage": "float8"}, UsageError, "float32, float16"),
        (one("a dog"), {"truncate": "middle"}, UsageError, "left, right"),
        (one("a dog"), {"attention": "flash"}, UsageError, "fast, eager"),
        (one("a dog"), {"on_nonfinite": "ignore"}, UsageError, "stop, quarantine"),
        (one("a dog"), {"token_budget": 0}, UsageError, "at least 1"),
        (one("a dog"), {"executor": "slurm"}, UsageError, "unknown executor"),
        (one("a dog"), {"executor": "shard:4/4"}, UsageError, "from 0 to N - 1"),
        (one("a dog"), {"executor": "processes:2"}, UsageError, "needs a folder"),
    ],
)
def test_a_bad_request_is_refused_before_any_forward(
    model, monkeypatch, texts, request_, error, message
):
    monkeypatch.setattr(model.bridge, "forward", lambda *a, **k: pytest.fail("the model ran"))
    with pytest.raises(error, match=message):
        capture(model, texts, **{"sites": ("resid_post",), "positions": ("last",), **request_})


def test_duplicate_layers_are_one(model):
    with pytest.warns(UserWarning, match="named twice"):
        store = capture(
            model, battery(2), sites=("resid_post", "resid_post@1,1"), positions=("last", "last")
        )
    with store:
        assert len(store.sites) == model.dims.n_layers
        assert store.positions == ("last",)


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_is_explicit_and_recorded(model, side):
    text = "anna " + " ".join(["dog"] * 200) + " ben"
    with capture(
        model, one(text), sites=("resid_post",), positions=("all", "mean_content"), truncate=side
    ) as store:
        assert store.read("blocks.0.hook_resid_post", "all").lengths == (128,)
        assert store.provenance["options"]["truncate"] == side
        kept = {"left": "dog " * 126 + "ben", "right": "anna " + "dog " * 126}[side].strip()
        with capture(model, one(kept), sites=("resid_post",), positions=("mean_content",)) as short:
            a, b = (s.read("blocks.2.hook_resid_post", "mean_content").x for s in (store, short))
            assert abs(a - b).max() < 1e-5


def test_special_tokens_are_accepted_when_meant(model):
    with capture(
        model, one("dog <eos> cat"), sites=("resid_post",), positions=("all",), allow_special=True
    ) as store:
        assert store.read("blocks.0.hook_resid_post", "all").lengths == (4,)


def test_a_folder_that_cannot_be_written_is_refused_before_planning(model, tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / ("x" * 300)):
        with pytest.raises(ResourceError):
            write_store(model, out)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ResourceError):
        write_store(model, loop / "run")


def test_a_full_disk_is_foreseen(model, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "interp.capture.recording.recorder.disk_usage",
        lambda path: type("Usage", (), {"free": 1000})(),
    )
    monkeypatch.setattr(
        "interp.capture.recording.recorder.launch", lambda *a: pytest.fail("the model ran")
    )
    with pytest.raises(ResourceError, match=r"needs .* GB \+ 10 %, and 0.00 GB are free"):
        write_store(model, tmp_path / "run")


def test_a_folder_of_another_capture_is_refused_with_the_difference(model, tmp_path):
    write_store(model, tmp_path / "run").close()
    with pytest.raises(
        ArtefactError,
        match=r"another configuration.*options.storage: \"float32\" -> \"float16\".*positions",
    ):
        write_store(model, tmp_path / "run", storage="float16", positions=("last",))
    (tmp_path / "odd" / "shards").mkdir(parents=True)
    (tmp_path / "odd" / "shards" / "00000-3fa9c1d2.h5").touch()
    with pytest.raises(ArtefactError, match=r"shards without a run\.json"):
        write_store(model, tmp_path / "odd")


@pytest.mark.parametrize("name", ["my field", "a/b", "wörter", "x" * 90])
def test_a_rule_whose_name_the_store_could_not_hold_is_refused(model, name):
    with pytest.raises(UsageError, match=r"names data in the store\. Rename the field"):
        capture(
            model,
            one("dog cat", **{name: "cat"}),
            sites=("resid_post",),
            positions=(f"span({name})",),
        )


def test_a_rule_written_twice_is_one(model):
    rules = make_plan(
        model,
        battery(),
        sites=FEW,
        positions=("last", " last", "mean_from(3)", "mean_from(03)"),
        options=Options(),
    ).positions
    assert [str(rule) for rule in rules] == ["last", "mean_from(3)"]


def test_a_site_that_the_model_lacks_is_refused_by_the_plan(model, monkeypatch):
    monkeypatch.setattr(model, "offers", lambda site: site.name != "mlp_out")
    with pytest.raises(UsageError, match=r"has no blocks\.0\.hook_mlp_out, .*interp sites"):
        estimate_capture(model, battery(), sites=("mlp_out",), positions=("last",), teraflops=1.0)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [([1000] * 9, 64), ([MIB // 2, 3 * MIB, MIB], 192), ([50 * MIB], 1024)],
    ids=["small texts", "64 of the largest", "the most"],
)
def test_shards_grow_with_what_a_text_holds(held, wanted):
    assert shard_bytes_for(held) == wanted * MIB


def test_a_plan_asks_how_large_shards_are_unless_it_is_told(model, monkeypatch):
    texts = battery()
    plan = partial(make_plan, model, texts, sites=["resid_post"], positions=["last"])
    whole = plan(options=Options())
    monkeypatch.setattr("interp.capture.plan.shard_bytes_for", max)
    one_text = plan(options=Options())
    assert len(one_text.shards) == len(texts) > len(whole.shards) == 1
    assert len(plan(options=Options(shard_bytes=64 * MIB)).shards) == 1
