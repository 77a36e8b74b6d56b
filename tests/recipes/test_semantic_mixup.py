"""Semantic MixUp at the smallest size: every arm trains and resumes, and each half of a batch is what it is called."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.classifier_training.fitting import Fitting
from unlogit.images import open_images

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import semantic_mixup

    return semantic_mixup


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_all_arms_share_a_seed_s_images_and_the_same_command_resumes(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = recipe.MixUp(
        images="scenes:count=96",
        held_out="scenes:test,count=64",
        out=tmp_path,
        labelled=48,
        seeds=(0, 1),
        num_teacher_images=64,
        num_inverter_images=16,
        num_student_images=64,
        widths=(8, 8, 16),
        channels=4,
        measured=48,
        attacked=8,
        restarts=1,
    )
    recipe.main(given)
    rows = table(tmp_path / "arms.csv")
    assert [row["arm"] for row in rows] == list(given.arms)
    assert all(0 <= float(row["calibration error"]) <= 1 and row["seeds"] == "2" for row in rows)
    contrasts = {row["contrast"] for row in table(tmp_path / "contrasts.csv")}
    assert {"decoded mixes - real images", "decoded mixes - teacher labels"} <= contrasts
    drawn = [open_images(f"parquet:{recipe.drawn_file(given, seed)}") for seed in (0, 1)]
    assert [len(source) for source in drawn] == [48, 48]
    assert drawn[0].class_names == open_images(given.images).class_names
    assert not torch.equal(drawn[0].labels, drawn[1].labels)
    for config in (
        recipe.teacher_config(given, 0),
        recipe.student_config(given, 0, tmp_path),
        recipe.inverter_of(given, 0),
    ):
        assert config.images == drawn[0].spec

    monkeypatch.setattr(Fitting, "step", lambda _: pytest.fail("trained again"))
    monkeypatch.setattr(recipe, "train", lambda _: pytest.fail("trained again"))
    recipe.main(given)
    assert table(tmp_path / "arms.csv") == rows


class Decoder:
    """Gives grey images as bright as the first logit says."""

    def sample_noise(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 1, generator=generator)

    def invert(self, logits: Tensor, noise: Tensor) -> Tensor:
        return logits[:, :1, None, None].sigmoid().expand(-1, 3, 2, 2)


def test_each_arm_s_images_and_labels_are_what_it_is_called(recipe: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 3, 2, 2, generator=generator)
    targets = F.one_hot(torch.tensor([0, 1, 2]), 4).float()
    logits, shares = torch.randn(3, 4, generator=generator), torch.tensor([1.0, 0.25, 0.0])
    half = {arm: recipe.HALVES[arm](Decoder())(pixels, targets, logits, shares) for arm in recipe.HALVES}
    assert torch.equal(half["real images"][0], pixels) and torch.equal(half["real images"][1], targets)
    images, labels = half["pixel MixUp"]
    torch.testing.assert_close(images[1], 0.25 * pixels[1] + 0.75 * pixels[0])
    torch.testing.assert_close(labels[1], torch.tensor([0.75, 0.25, 0.0, 0.0]))
    torch.testing.assert_close(labels[2], targets[1])
    images, labels = half["decoded end points"]
    torch.testing.assert_close(images[:, 0, 0, 0], logits[:, 0].sigmoid())
    torch.testing.assert_close(labels, logits.softmax(1))
    images, labels = half["decoded mixes"]
    mixed = 0.25 * logits[1] + 0.75 * logits[0]
    torch.testing.assert_close(images[1, 0, 0, 0], mixed[0].sigmoid())
    torch.testing.assert_close(labels[1], mixed.softmax(0))
    assert torch.equal(half["teacher labels"][0], pixels)
    torch.testing.assert_close(half["teacher labels"][1], logits.softmax(1))


def test_the_calibration_error_is_that_of_a_count_by_bins(recipe: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = (3 * torch.randn(500, 4, generator=generator)).softmax(1)
    labels = torch.randint(0, 4, (500,), generator=generator)
    expected = 0.0
    for k in range(recipe.BINS):
        low, high = k / recipe.BINS, (k + 1) / recipe.BINS
        inside = [i for i in range(500) if low < float(probabilities[i].max()) <= high]
        if inside:
            right = sum(int(probabilities[i].argmax()) == int(labels[i]) for i in inside) / len(inside)
            sure = sum(float(probabilities[i].max()) for i in inside) / len(inside)
            expected += len(inside) / 500 * abs(right - sure)
    assert recipe.calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-6)
