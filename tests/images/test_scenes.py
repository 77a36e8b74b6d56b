import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional as F

from unlogit.errors import UnlogitError
from unlogit.images import open_images
from unlogit.images._shapes import SHAPES
from unlogit.images.scenes import FACTORS, SPLITS, SceneImages, habitual, oklch, render


def scenes(**options) -> SceneImages:
    return SceneImages("scenes:", **({"count": 4000} | options))


def plain(n: int = 1) -> dict[str, torch.Tensor]:
    """The factors of scenes with a large upright plain object in the middle and nothing else."""
    factors = scenes().factors(range(n))
    factors |= {name: torch.zeros(n) for name in ("x", "y", "rotation", "gradient_direction")}
    factors |= {name: torch.zeros(n, dtype=torch.bool) for name in ("mirror", "distractor")}
    factors |= {"texture": torch.zeros(n, dtype=torch.int64), "scale": torch.full((n,), 0.4)}
    factors |= {"brightness": torch.full((n,), 0.65), "contrast": torch.full((n,), 0.3)}
    factors |= {"hue": torch.full((n,), 0.1), "background_hue": torch.full((n,), 0.6)}
    return factors


def test_the_same_spec_shows_the_same_scenes():
    first, again = scenes().render(range(64)), scenes().render(range(64))
    assert first.dtype == torch.uint8 and first.shape == (64, 3, 32, 32)
    assert torch.equal(first, again)


def test_a_scene_does_not_depend_on_the_others_in_its_batch():
    source = scenes()
    together = source.render(range(50))
    assert torch.equal(source.render(list(reversed(range(50)))).flip(0), together)
    assert torch.equal(torch.stack([source.decode(i) for i in range(50)]), together)
    assert torch.equal(scenes(count=50).render(range(50)), together)


def test_many_pixels_are_rendered_in_parts():
    source = scenes(size=256)
    assert torch.equal(source.render(range(6))[5], source.decode(5))


@pytest.mark.parametrize("other", [{"seed": 1}, {"split": "test"}, {"split": "val"}])
def test_seeds_and_splits_share_no_scene(other):
    ours, theirs = scenes().factors(range(4000)), scenes(**other).factors(range(4000))
    assert not torch.isin(ours["x"], theirs["x"]).float().mean() > 0.02  # float32 meets by chance
    assert not ((ours["x"] == theirs["x"]) & (ours["y"] == theirs["y"])).any()
    assert (scenes().labels != scenes(**other).labels).any()


def test_a_large_scene_averaged_down_is_the_small_one():
    small, large = (scenes(size=size).render(range(300)).float() / 255 for size in (32, 64))
    error = (F.avg_pool2d(large, 2) - small).abs()
    assert error.mean() < 0.004
    assert error.mean((1, 2, 3)).max() < 0.02
    shuffled = (F.avg_pool2d(large, 2) - small.roll(1, 0)).abs()
    assert shuffled.mean() > 20 * error.mean()


def test_factors_follow_their_stated_distributions():
    n = 50_000
    factors = scenes(count=n).factors(range(n))
    assert list(factors) == list(FACTORS)
    for name, factor in FACTORS.items():
        values = factors[name]
        assert values.shape == (n,)
        if factor.kind == "binary":
            assert values.dtype == torch.bool
            assert abs(values.float().mean() - 0.5) < 0.01
        elif factor.kind == "categorical":
            shares = torch.bincount(values, minlength=len(factor.names)) / n
            assert len(shares) == len(factor.names)
            assert (shares - 1 / len(factor.names)).abs().max() < 0.01
        elif factor.habit is None:
            if factor.kind == "circular":
                assert (factor.low, factor.high) == (0, 1)
            unit = ((values - factor.low) / (factor.high - factor.low)).sort().values
            assert unit[0] >= 0 and unit[-1] <= 1
            assert (unit - torch.linspace(0, 1, n)).abs().max() < 0.01  # Kolmogorov-Smirnov: p < 1e-4


@pytest.mark.parametrize("name", [name for name, factor in FACTORS.items() if factor.habit is not None])
def test_habits_are_the_stated_distributions(name):
    """Kolmogorov-Smirnov against scipy's truncated, and a summed wrapped, normal around each shape's centre."""
    source, factor = scenes(count=50_000), FACTORS[name]
    values, labels = source.factors(range(len(source)))[name].double().numpy(), source.labels.numpy()
    for shape in range(10):
        mine, centre, spread = values[labels == shape], habitual(name, shape), factor.habit
        if factor.kind == "circular":

            def cdf(v, centre=centre, spread=spread):
                normal = stats.norm(centre, spread)
                return sum(normal.cdf(v + turn) - normal.cdf(turn) for turn in range(-4, 5))
        else:
            ends = (factor.low - centre) / spread, (factor.high - centre) / spread
            cdf = stats.truncnorm(*ends, loc=centre, scale=spread).cdf
        assert stats.kstest(mine, cdf).pvalue > 1e-4


def test_every_value_is_possible_for_every_shape():
    source = scenes(count=50_000)
    hues, labels = source.factors(range(len(source)))["hue"], source.labels
    for shape in range(10):
        assert (torch.histc(hues[labels == shape], 10, 0, 1) > 20).all()


def test_factors_are_independent_given_the_shape():
    source = scenes(count=50_000)
    factors, labels = source.factors(range(len(source))), source.labels
    for shape in range(10):
        columns = []
        for name, values in factors.items():
            column = values[labels == shape].double()
            if FACTORS[name].kind == "circular":
                # Measured from where the shape's values are most, so that the seam is where they are fewest.
                column = (column - habitual(name, shape) + 0.5) % 1
            columns.append(column)
        assert torch.corrcoef(torch.stack(columns)).fill_diagonal_(0).abs().max() < 0.07


def test_labels_are_the_shapes_and_balanced():
    source = scenes()
    assert source.class_names == tuple(shape.name for shape in SHAPES) and len(set(source.class_names)) == 10
    assert sum(shape.chiral for shape in SHAPES) >= 3
    assert (torch.bincount(source.labels, minlength=10) / 4000 - 0.1).abs().max() < 0.02
    assert torch.equal(source.labels[:100], scenes(count=100).labels)
    again = render(source.labels[:20], source.factors(range(20)), 32)
    assert torch.equal((again * 255).round().to(torch.uint8), source.render(range(20)))


def grid(size: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    steps = torch.linspace(-1.1, 1.1, size)
    y, x = torch.meshgrid(-steps, steps, indexing="ij")
    return x[None], y[None]


def turned(shape, turns: float, mirror: bool = False) -> torch.Tensor:
    """Where a rotated shape is: bool."""
    x, y = grid()
    angle = torch.tensor(turns * 2 * torch.pi)
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    return shape.distance(-u if mirror else u, v) < 0


def differs(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a ^ b).sum() / (a | b).sum())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_a_shape_is_what_it_says(shape):
    x, y = grid()
    inside = turned(shape, 0)
    assert 0.2 < inside.float().mean() * 2.2**2 / torch.pi < 1  # of the unit disc
    assert not (inside & (torch.hypot(x, y) > 1)).any()
    best = min(differs(inside, turned(shape, i / 60, mirror=True)) for i in range(60))
    assert (best > 0.2) == shape.chiral
    if shape.symmetry == 0:
        assert differs(inside, turned(shape, 0.137)) < 0.03
    else:
        assert differs(inside, turned(shape, 1 / shape.symmetry)) < 0.03
        assert all(differs(inside, turned(shape, 1 / k)) > 0.1 for k in range(2, 12) if shape.symmetry % k)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_a_distance_grows_by_one_a_unit_at_the_outline(shape):
    x, y = grid(256)
    distance = shape.distance(x, y)[0]
    step = 2.2 / 255
    grad = torch.hypot(*torch.gradient(distance, spacing=step))
    near = grad[distance.abs() < 2 * step]
    assert 0.97 < near.median() < 1.03
    assert near.max() < 1.1


def test_no_two_shapes_are_alike_in_any_position():
    for i, a in enumerate(SHAPES):
        for b in SHAPES[:i]:
            best = min(differs(turned(a, 0), turned(b, k / 30, m)) for k in range(30) for m in (False, True))
            assert best > 0.2, (a.name, b.name, best)


@pytest.mark.parametrize("shape", range(10), ids=lambda i: SHAPES[i].name)
def test_mirror_shows_on_chiral_shapes_alone(shape):
    factors = plain() | {"mirror": torch.tensor([True])}
    images = [render(torch.tensor([shape]), f, 64) for f in (plain(), factors)]
    changed = (images[0] - images[1]).abs().amax(1) > 0.1
    # The shapes that are their own mirror image may be so about another axis than the vertical one.
    if SHAPES[shape].chiral:
        assert changed.float().mean() > 0.05
    elif SHAPES[shape].name != "crescent":
        assert changed.float().mean() < 0.01


def test_mirror_and_rotation_move_the_object_as_stated():
    """Mirroring a scene's outline left to right is the same as its other handedness turned the other way."""
    base = plain() | {"rotation": torch.tensor([0.15]), "hue": torch.tensor([0.5])}
    twin = base | {"rotation": torch.tensor([0.85]), "mirror": torch.tensor([True])}
    for shape in range(10):
        covers = []
        for factors in (base, twin):
            image = render(torch.tensor([shape]), factors, 64)
            empty = render(torch.tensor([shape]), factors | {"x": torch.tensor([9.0])}, 64)
            covers.append((image - empty).abs().amax(1) > 0.25)
        assert differs(covers[0].flip(-1), covers[1]) < 0.12, SHAPES[shape].name


def centre(factors: dict[str, torch.Tensor]) -> torch.Tensor:
    """The disc's middle (x, y), found from the image."""
    disc = torch.tensor([0])
    image = render(disc, factors, 64)
    empty = render(disc, factors | {"x": torch.tensor([9.0])}, 64)
    cover = ((image - empty).abs().amax(1) > 0.2).float()[0]
    steps = (torch.arange(64) + 0.5) / 64 - 0.5
    return torch.stack([(cover * steps).sum(), -(cover * steps[:, None]).sum()]) / cover.sum()


def test_position_is_right_and_up():
    small = plain() | {"scale": torch.tensor([0.2])}
    moved = small | {"x": torch.tensor([0.12]), "y": torch.tensor([0.2])}
    assert torch.allclose(centre(moved) - centre(small), torch.tensor([0.12, 0.2]), atol=0.02)


def test_gradient_direction_points_to_the_light():
    away = plain() | {"x": torch.tensor([9.0])}
    right = render(torch.tensor([0]), away, 32)
    up = render(torch.tensor([0]), away | {"gradient_direction": torch.tensor([0.25])}, 32)
    assert right[..., -1].mean() > right[..., 0].mean() + 0.1
    assert up[..., 0, :].mean() > up[..., -1, :].mean() + 0.1


@pytest.mark.parametrize("name", [name for name in FACTORS if name != "mirror"])
def test_every_factor_shows(name):
    """A change of one factor alone changes the images, or changes nothing where it is said not to show."""
    shapes = scenes().labels[:32]
    factors = scenes().factors(range(32)) | {"distractor": torch.ones(32, dtype=torch.bool)}
    factor = FACTORS[name]
    values = factors[name]
    match factor.kind:
        case "binary":
            other = ~values
        case "categorical":
            other = (values + 1) % len(factor.names)
        case "circular":
            other = (values + 0.4) % 1
        case _:
            other = (factor.low + factor.high) - values
    before, after = render(shapes, factors, 32), render(shapes, factors | {name: other}, 32)
    assert (before - after).abs().mean() > 0.002
    if factor.only:
        off = factors | {factor.only: torch.zeros(32, dtype=torch.bool)}
        assert torch.equal(render(shapes, off, 32), render(shapes, off | {name: other}, 32))


def test_oklch_agrees_with_published_srgb():
    """Grey is grey, and the sRGB primaries have the OKLCH coordinates that CSS Color 4 lists."""
    primaries = {
        (0.628, 0.2577, 29.23): (1, 0, 0),
        (0.8664, 0.2948, 142.5): (0, 1, 0),
        (0.452, 0.3132, 264.05): (0, 0, 1),
    }
    for (lightness, chroma, degrees), rgb in primaries.items():
        colour = oklch(torch.full((1, 1, 1), lightness), chroma, torch.full((1, 1, 1), degrees / 360)).flatten()
        assert torch.allclose(colour, torch.tensor(rgb).float(), atol=0.02)
    grey = oklch(torch.full((1, 1, 1), 0.6), 0.0, torch.zeros(1, 1, 1)).flatten()
    assert torch.allclose(grey, grey.mean().expand(3), atol=1e-3) and abs(grey[0] - 0.502) < 0.02


def test_the_fingerprint_names_what_is_shown():
    others = ({"seed": 1}, {"size": 64}, {"count": 10}, {"split": "test"}, {"split": "val"})
    prints = {scenes(**o).fingerprint() for o in ({}, *others)}
    assert len(prints) == 6
    assert scenes().fingerprint() == scenes().fingerprint()


def test_defaults():
    assert len(open_images("scenes:")) == 50_000 == SPLITS["train"]
    test = open_images("scenes:test")
    assert len(test) == 10_000 and test.spec == "scenes:test"
    assert test.decode(0).shape == (3, 32, 32)


@given(
    split=st.sampled_from(["", "train", "test", "val"]),
    options=st.permutations(["size", "count", "seed"]).flatmap(
        lambda names: st.tuples(*(st.tuples(st.just(n), st.integers(8, 1024)) for n in names))
    ),
    kept=st.integers(0, 3),
    former=st.sampled_from(["", ",", ", "]),
)
def test_every_allowed_spec_opens_also_in_the_former_dialect(split, options, kept, former):
    parts = [f"{name}={value}" for name, value in options[:kept]]
    if former:
        source = open_images("scenes:" + former.join(([split] if split else []) + parts))
    else:
        source = open_images(f"scenes:{split}?{'&'.join(parts)}")
    expected = {"size": 32, "count": SPLITS[split or "train"], "seed": 0} | dict(options[:kept])
    assert {name: getattr(source, name) for name in expected} == expected
    assert source.split == (split or "train")


@given(st.text(max_size=30))
def test_any_other_spec_is_one_clear_line(rest):
    try:
        source = open_images(f"scenes:{rest}")
    except UnlogitError as error:
        message = str(error)
        assert any(word in message for word in ("must be", "once"))
    else:
        assert re.split("[,?&=]", rest.strip())[0].strip() in (
            "",
            "train",
            "test",
            "size",
            "count",
            "seed",
        )
        assert len(source) >= 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scenes:seed", "must be one of test, train"),
        ("scenes:tset", "must be one of test, train, val. Did you mean 'test'"),
        ("scenes:test,sise=64", "must be one of count, seed, size. Did you mean 'size'"),
        ("scenes:size=4", "must be at least 8"),
        ("scenes:size=64,size=32", "once"),
        ("scenes:count=0", "must be at least 1"),
        ("scenes:seed=-1", "must not be negative"),
        ("scenes:count=1e3", "whole number"),
        ("scenes:test,seed", "must be one of test, train"),
        ("scenes:test,size=8,seed", "once, as seed=VALUE"),
    ],
)
def test_errors_say_what_is_allowed(spec, message):
    with pytest.raises(UnlogitError, match=message.replace(".", r"\.")):
        open_images(spec)
