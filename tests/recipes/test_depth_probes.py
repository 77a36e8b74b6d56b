"""Probes by depth at the smallest size: what a probe reads where the answer is known, and results that are kept."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.images import Loader, View, open_images

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import depth_probes

    return depth_probes


def scenes(count: int) -> tuple[Tensor, Tensor]:
    batches = list(Loader(open_images(f"scenes:count={count}"), View(32), 64, seed=0).once())
    return torch.cat([b.images for b in batches]), torch.cat([b.labels for b in batches])


def test_a_representation_that_holds_the_layout_has_more_bits_than_noise(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = scenes(320)
    probes = recipe.Probes(tmp_path, among=32)

    def encode(_classifier: object, layer: str, given: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(len(given), 8, generator=generator)
        return recipe.targets(given) if layer == "layout" else noise

    monkeypatch.setattr(recipe, "encode", encode)
    found = {x: recipe.probe(probes, None, x, images[:160], images[160:], labels[160:]) for x in ("layout", "noise")}
    rows = {layer: recipe.row(probes, "robust", layer, each) for layer, each in found.items()}
    assert rows["layout"]["layout R2"] > 0.99 and rows["layout"]["layout cosine"].value > 0.99
    assert rows["noise"]["layout R2"] < 0.1 and abs(rows["noise"]["layout cosine"].value) < 0.2
    assert rows["layout"]["bits of 5"].value > 4.5 and rows["noise"]["bits of 5"].value < 0.5
    kept = {("robust", "x"): found["layout"], ("standard", "x"): found["noise"]}
    tested = {row["measure"]: row for row in recipe.contrasts(("robust", "standard"), ("x",), kept)}
    assert tested["bits"]["difference"].low > 3.5
    assert {row["contrast"] for row in tested.values()} == {"robust - standard, x"}
    assert {row["verdict"] for row in tested.values()} == {"differs significantly"}


def test_layers_that_hold_the_same_are_equivalent_and_one_that_holds_less_is_not(recipe: ModuleType) -> None:
    """Images differ far more than layers do, of which the second loses nothing and the third a little."""
    generator = torch.Generator().manual_seed(0)
    image, lineup = torch.rand(400, generator=generator), torch.randn(50, 1, generator=generator)

    def measured(less: float) -> dict[str, object]:
        cosine = image - less + 0.01 * torch.randn(400, generator=generator)
        proven = lineup - less + 0.05 * torch.randn(50, 8, generator=generator)
        return {"layout cosine": cosine.tolist(), "bits": {"any": proven.tolist(), "class": None}}

    found = {("robust", layer): measured(less) for layer, less in (("a", 0.0), ("b", 0.0), ("c", 0.1))}
    verdicts = {
        (row["contrast"], row["measure"]): row["verdict"]
        for row in recipe.contrasts(("robust",), ("a", "b", "c"), found)
    }
    assert verdicts == {
        ("robust, b - a", "layout cosine"): "equivalent within ±0.05",
        ("robust, b - a", "bits"): "not significant",
        ("robust, c - b", "layout cosine"): "differs significantly",
        ("robust, c - b", "bits"): "differs significantly",
    }


def test_layers_of_one_module_share_its_pass(recipe: ModuleType, tiny_classifier_spec: str) -> None:
    classifier = open_classifier(tiny_classifier_spec)
    images, others = scenes(6)[0], scenes(3)[0]
    recipe.run_module.cache_clear()
    read = {layer: recipe.encode(classifier, layer, images) for layer in ("logits", "log-softmax", "label")}
    assert recipe.run_module.cache_info().misses == 1
    assert torch.allclose(read["logits"], classifier(images), atol=1e-5)
    assert torch.allclose(read["log-softmax"], classifier(images).log_softmax(1), atol=1e-5)
    assert torch.allclose(recipe.encode(classifier, "logits", others), classifier(others), atol=1e-5)


def test_results_are_kept_for_equal_settings_alone(recipe: ModuleType, tmp_path: Path) -> None:
    from recipe_results import keep

    file, calls = tmp_path / "a" / "x.json", []

    def compute() -> dict[str, int]:
        calls.append(1)
        return {"value": len(calls)}

    assert keep(file, ("s", 1), compute) == keep(file, ("s", 1), compute) == {"value": 1}
    assert keep(file, ("s", 2), compute) == {"value": 2}
    file.write_text("{}")
    with pytest.raises(UnlogitError, match="unlogit did not write it"):
        keep(file, ("s", 2), compute)
