import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unlogit.errors import UnlogitError
from unlogit.images import View, check_pixels


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def ramp(height: int, width: int) -> torch.Tensor:
    """Red rises to the right and green downwards, so that colours tell the place."""
    x = torch.linspace(0, 255, width).expand(height, width)
    y = torch.linspace(0, 255, height)[:, None].expand(height, width)
    return torch.stack([x, y, torch.zeros_like(x)]).round().to(torch.uint8)


def draws(count: int = 1, seed: int = 0) -> torch.Tensor:
    return View(8).draw(count, np.random.default_rng(seed))


def test_an_image_of_the_right_size_stays_as_it_is():
    decoded = [noise(32, 32, i) for i in range(3)]
    images = View(32).apply(decoded)
    assert torch.equal((images * 255).round().to(torch.uint8), torch.stack(decoded))


@pytest.mark.parametrize(("height", "width"), [(48, 96), (96, 48), (33, 34)])
def test_centre_is_the_middle_square(height, width):
    decoded = noise(height, width)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = View(side).apply([decoded])[0]
    assert torch.equal((image * 255).round().to(torch.uint8), decoded[:, top : top + side, left : left + side])


def test_shrinking_averages_and_keeps_place():
    image = View(16).apply([ramp(64, 64)])
    assert torch.allclose(image, F.avg_pool2d(ramp(64, 64)[None].float() / 255, 4), atol=0.01)


def test_fine_patterns_do_not_alias():
    checks = ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255).to(torch.uint8).expand(3, 64, 64)
    image = View(20).apply([checks])
    assert (image - 0.5).abs().max() < 0.06


def test_images_of_different_sizes_share_a_batch():
    decoded = [noise(40, 50), noise(32, 32), noise(20, 8)]
    images = View(32).apply(decoded)
    assert check_pixels(images).shape == (3, 3, 32, 32)
    for one, image in zip(decoded, images, strict=True):
        assert torch.equal(View(32).apply([one])[0], image)


def test_enlarging_stays_in_range():
    edge = torch.zeros(3, 4, 4, dtype=torch.uint8)
    edge[:, :, 2:] = 255
    image = View(64).apply([edge])
    assert image.min() == 0 and image.max() == 1


def test_flips_are_exact_and_as_drawn():
    images = [noise(32, 32, i) for i in range(40)]
    chance = draws(40)
    straight, flipping = View(32), View(32, flip=True)
    flips = flipping.flips(chance)
    assert 8 < flips.sum() < 32
    assert not straight.flips(chance).any()
    seen, expected = flipping.apply(images, chance), straight.apply(images)
    assert torch.equal(seen[~flips], expected[~flips])
    assert torch.equal(seen[flips], expected[flips].flip(-1))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (60, 120), (90, 70)])
def test_random_crops_have_the_stated_area_and_place(height, width):
    view, n = View(64, "random"), 200
    images = view.apply([ramp(height, width)] * n, draws(n))
    span = images[..., 2:-2, 2:-2]  # away from the border, where enlarging is not linear
    share = 64 / 59
    wide = (span[:, 0].mean(1)[:, -1] - span[:, 0].mean(1)[:, 0]) * share * (width - 1)
    tall = (span[:, 1].mean(2)[:, -1] - span[:, 1].mean(2)[:, 0]) * share * (height - 1)
    area = wide * tall / min(height, width) ** 2
    assert (wide / tall - 1).abs().max() < 0.06
    assert area.min() > 0.45 and area.max() < 1.06
    assert area.min() < 0.55 and area.max() > 0.93
    assert abs(area.mean() - 0.75) < 0.04
    middle = images[:, :2].mean((2, 3))
    spread = torch.tensor([width, height]) - min(height, width) * 0.5**0.5
    assert (middle.mean(0) - 0.5).abs().max() < 0.04
    reach = (middle.amax(0) - middle.amin(0)) * torch.tensor([width, height])
    assert (reach > 0.7 * spread).all() and (reach < 1.05 * spread).all()


def test_the_same_draws_give_the_same_crop():
    view, images = View(24, "random", flip=True), [noise(40, 30, i) for i in range(5)]
    assert torch.equal(view.apply(images, draws(5)), view.apply(images, draws(5)))
    assert not torch.equal(view.apply(images, draws(5)), view.apply(images, draws(5, seed=1)))
    assert torch.equal(view.apply(images, draws(5))[2:4], view.apply(images[2:4], draws(5)[2:4]))


def test_an_image_of_one_pixel():
    assert View(8, "random").apply([noise(1, 1)], draws()).shape == (1, 3, 8, 8)


def test_nothing_in_nothing_out():
    assert View(8).apply([]).shape == (0, 3, 8, 8)


def test_countable_views_leave_two_variants_at_most():
    assert View(8).countable and View(8, flip=True).countable and not View(8, "random").countable


@pytest.mark.parametrize(
    ("options", "message"), [({"size": 0}, "at least 1"), ({"size": 8, "crop": "middle"}, "centre, random")]
)
def test_wrong_views(options, message):
    with pytest.raises(UnlogitError, match=message):
        View(**options)


def test_a_shift_moves_the_centre_view_and_mirrors_its_border() -> None:
    view = View(16, crop="shift")
    image = torch.randint(0, 256, (3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    middle, corner = torch.tensor([[0.9, 0.5, 0.5, 0.9], [0.9, 0.0, 0.999, 0.9]], dtype=torch.double)
    still, moved = view.apply([image, image], torch.stack([middle, corner]))
    plain = image.float() / 255
    assert torch.equal(still, plain)
    # Two pixels down and two to the left.
    assert torch.equal(moved[:, 2:, :-2], plain[:, :-2, 2:])
    assert torch.equal(moved[:, :2, :-2], plain[:, 1:3, 2:].flip(1))
    assert not view.countable
