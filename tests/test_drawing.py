"""Sheets of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from unlogit.drawing import INK, MATCH, WIDTH, Block, enlarge, sheet, shorten, style


def images(rows: int, columns: int, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows + columns)
    return torch.randint(256, (rows, columns, 3, size, size), generator=generator, dtype=torch.uint8)


def test_blocks_stand_side_by_side_within_the_width() -> None:
    with style():
        figure = sheet([Block(f"inverter {i}", INK, ("original", "noise"), images(3, 2)) for i in range(7)])
    (axes,) = figure.axes
    assert len(axes.images) == 7 * 3 * 2
    extents = [image.get_extent() for image in axes.images]
    assert min(left for left, *_ in extents) == 0 and max(right for _, right, *_ in extents) <= WIDTH
    assert len({(left, top) for left, _, _, top in extents}) == len(extents)
    assert max(bottom for *_, bottom, _ in extents) <= figure.bbox.height


def test_images_of_two_sizes_share_a_row_and_what_keeps_its_class_is_highlighted() -> None:
    photo, reconstruction = images(1, 1, 50)[0, 0], images(1, 1)[0, 0]
    words, marked = (("crane", "$a_1$"),), ((True, False),)
    with style():
        block = Block("", INK, ("photo", "an inverter of a long name"), [[photo, reconstruction]], words, marked)
        figure = sheet([block], note="What made them, " * 20)
    (axes,) = figure.axes
    drawn = [image.get_extent() for image in axes.images]
    assert len({right - left for left, right, *_ in drawn}) == 1
    assert np.array_equal(axes.images[1].get_array()[::16, ::16], reconstruction.permute(1, 2, 0).numpy())
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours["crane"] == MATCH and colours["\\$a_1\\$"] == INK
    lowest = max(text.get_position()[1] for text in axes.texts)
    assert lowest < figure.bbox.height
    FigureCanvasAgg(figure).draw()


def test_enlarge_and_shorten() -> None:
    image = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    assert enlarge(image, 2)[:, :, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abc defg", 5) == "abc…"


def test_rows_have_an_image_for_each_column() -> None:
    with pytest.raises(AssertionError):
        Block("", INK, ("original",), images(1, 2))
