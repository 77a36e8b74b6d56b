import torch
from torch.nn import functional as F

from unlogit.methods.biggan.augment import translated


def test_each_image_is_shifted_on_its_own_and_zeros_move_in():
    images = torch.rand(3, 3, 16, 16)
    still, down_left, up = translated(images, torch.tensor([[0.5, 0.5], [0.0, 0.999], [0.999, 0.5]]))
    assert torch.equal(still, images[0])
    assert torch.equal(down_left[:, 2:, :-2], images[1][:, :-2, 2:])
    assert down_left[:, :2].abs().max() == 0 and down_left[:, :, -2:].abs().max() == 0
    assert torch.equal(up[:, :-2], images[2][:, 2:]) and up[:, -2:].abs().max() == 0


def test_gradients_go_back_to_where_the_pixels_came_from():
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    translated(images, torch.zeros(1, 2)).sum().backward()
    expected = F.pad(torch.ones(1, 3, 7, 7), (0, 1, 0, 1))
    assert torch.equal(images.grad, expected)


def test_shifts_are_even_over_the_whole_reach():
    shifts = torch.rand(4_000, 2, generator=torch.Generator().manual_seed(0))
    image = torch.zeros(1, 1, 16, 16)
    image[0, 0, 8, 8] = 1
    rows = translated(image.expand(4_000, -1, -1, -1), shifts).flatten(1).argmax(1) // 16
    counts = rows.bincount(minlength=16)[6:11]
    assert counts.sum() == 4_000 and (counts / 800 - 1).abs().max() < 0.12
