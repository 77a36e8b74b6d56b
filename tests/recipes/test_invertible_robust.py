"""The manipulation of invertibility at the smallest size, and what its tables and attacks say where it is known."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from unlogit.classifiers import open_classifier

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import invertible_robust

    return invertible_robust


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_arms_are_trained_measured_and_resumed(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = recipe.Invertible(
        images="scenes:count=128",
        held_out="scenes:test,count=64",
        out=tmp_path,
        weights=(1.0,),
        seeds=(0, 1),
        num_images=64,
        widths=(8, 8, 16),
        probe_images=64,
        measured=48,
        attacked=8,
        restarts=1,
    )
    recipe.main(given)
    rows = table(tmp_path / "arms.csv")
    assert [row["arm"] for row in rows] == ["weight 0", "weight 1", "weight 1, shuffled", "adversarial"]
    for row in rows:
        shares = [float(row[f"PGD-20 at {k}/255"]) for k in (1, 2, 3, 4)]
        assert row["seeds"] == "2" and shares == sorted(shares, reverse=True)
    contrasts = table(tmp_path / "contrasts.csv")
    others = [row["arm"] for row in rows[1:]]
    assert {row["contrast"] for row in contrasts} == {f"{other} - weight 0" for other in others}
    digests = {
        open_classifier(recipe.config(given, arm, seed).spec).fingerprint() for arm in given.arms for seed in (0, 1)
    }
    assert len(digests) == 8

    monkeypatch.setattr(recipe, "fit", lambda _: pytest.fail("trained again"))
    recipe.main(given)
    assert table(tmp_path / "arms.csv") == rows


def test_a_narrow_interval_is_called_equivalent_and_a_wide_one_is_not(recipe: ModuleType, tmp_path: Path) -> None:
    from _cells import contrast_rows

    def runs(values: list[float]) -> dict[int, dict[str, float]]:
        return {seed: {"m": value} for seed, value in enumerate(values)}

    base = [0.50, 0.52, 0.49, 0.51, 0.53]
    results = {
        "weight 0": runs(base),
        "same": runs([v + d for v, d in zip(base, (0.001, -0.001, 0.002, -0.002, 0.0), strict=True)]),
        "better": runs([v + 0.1 + d for v, d in zip(base, (0.001, -0.001, 0.002, -0.002, 0.0), strict=True)]),
        "unclear": runs([v + d for v, d in zip(base, (0.1, -0.1, 0.05, -0.05, 0.0), strict=True)]),
    }
    pairs = [(arm, "weight 0") for arm in ("same", "better", "unclear")]
    rows = {str(row["contrast"]).split(" - ")[0]: row for row in contrast_rows(results, pairs, ["m"], {"m": 0.02})}
    assert rows["same"]["verdict"] == "not significant, equivalent within ±0.02"
    assert rows["better"]["verdict"] == "differs significantly"
    assert rows["unclear"]["verdict"] == "not significant"


class Brightness(nn.Module):
    """Two logits, of which the second is larger where the mean brightness is above a half."""

    mean = torch.zeros(1)

    def forward(self, pixels: Tensor) -> Tensor:
        bright = pixels.mean((1, 2, 3))
        return torch.stack([0.5 - bright, bright - 0.5], 1) * 100


def test_robust_accuracy_counts_the_images_that_are_further_than_the_radius_from_the_boundary(
    recipe: ModuleType,
) -> None:
    from _cells import robust_accuracy

    distances = torch.tensor([0.5, 1.5, 2.5, 3.5, 10.0]) / 255
    images = (0.5 + distances).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    labels = torch.ones(5, dtype=torch.long)
    found = robust_accuracy(Brightness(), images, labels, (0.0, *recipe.RADII), 2, 0)
    assert list(found.values()) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
