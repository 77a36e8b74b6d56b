"""The tables of methods: at the smallest size, and paired tests on values whose answer is known."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("quick_fits")
def test_every_method_has_a_row_and_the_figure_is_drawn(
    tmp_path: Path, tiny_classifier_spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import scenes_methods

    scenes_methods.main(
        scenes_methods.Methods(
            tmp_path,
            num_images=32,
            num_fit_images=320,
            held_out=24,
            optimised=4,
            steps=2,
            shown=2,
            judge=tiny_classifier_spec,
            learned=("paper",),
            untrained=("engstrom", "nearest"),
        )
    )
    with (tmp_path / "methods.csv").open(newline="") as handle:
        rows = {row["method"]: row for row in csv.DictReader(handle)}
    assert list(rows) == ["paper", "engstrom", "nearest"]
    assert (rows["paper"]["training images"], rows["engstrom"]["training images"]) == ("32", "")
    assert (rows["paper"]["n"], rows["engstrom"]["n"]) == ("24", "4")
    for row in rows.values():
        assert 0 <= float(row["same class for the judge"]) <= 1
        assert float(row["pixel error low"]) <= float(row["pixel error"]) <= float(row["pixel error high"])
        assert float(row["seconds per image"]) > 0
    assert len({row["bits by"] for row in rows.values()}) == 1
    assert rows["nearest"]["diversity"] == "" and float(rows["paper"]["diversity"]) > 0
    assert (tmp_path / "methods.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "methods-contrasts.csv").open(newline="") as handle:
        tested = {(row["contrast"], row["measure"]): row for row in csv.DictReader(handle)}
    assert {contrast for contrast, _ in tested} == {"engstrom - paper", "nearest - paper"}
    # An optimisation is compared on its own few images.
    assert {row["n"] for (contrast, _), row in tested.items() if contrast == "engstrom - paper"} == {"4"}
    error = tested["nearest - paper", "pixel error"]
    assert error["n"] == "24"
    difference = float(rows["nearest"]["pixel error"]) - float(rows["paper"]["pixel error"])
    assert float(error["difference"]) == pytest.approx(difference, abs=2e-4)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import scenes_methods

    return scenes_methods


def test_methods_are_compared_in_pairs_on_the_images_of_both(recipe: ModuleType) -> None:
    """Images differ far more than methods do, so that the intervals of single methods overlap."""
    generator = torch.Generator().manual_seed(0)
    difficulty = torch.randn(320, generator=generator)

    def values(effect: float, n: int) -> dict[str, torch.Tensor]:
        error = difficulty[:n] + effect + 0.05 * torch.randn(n, generator=generator)
        return {"pixel error": error} if n < 320 else {"pixel error": error, recipe.BITS: error.view(-1, 32)}

    counts = {"paper": 320, "better": 320, "same": 320, "slow": 40}
    effects = {"paper": 0.0, "better": -0.05, "same": 0.0, "slow": 0.1}
    measured = {(name, n): values(effects[name], n) for name in counts for n in (320, 40)}
    observed = {name: each["pixel error"] for (name, n), each in measured.items() if n == 40}
    one, other = (recipe.estimate("pixel error", measured[name, 320]["pixel error"]) for name in ("paper", "better"))
    assert other.high > one.low
    pairs = recipe.compared(list(counts), ["paper"])
    assert pairs == [(name, "paper") for name in ("better", "same", "slow")]
    found = {(row["contrast"], row["measure"]): row for row in recipe.contrasts(pairs, measured, observed, counts)}
    verdicts = {key: row["verdict"] for key, row in found.items()}
    for metric in ("pixel error", recipe.BITS, recipe.OBSERVED):
        assert verdicts["better - paper", metric] == "differs significantly"
        assert verdicts["same - paper", metric] == "not significant"
    assert verdicts["slow - paper", "pixel error"] == "differs significantly"
    assert ("slow - paper", recipe.BITS) not in found
    assert found["better - paper", "pixel error"]["difference"].value == pytest.approx(-0.05, abs=0.01)
    assert {(row["measure"], row["n"]) for row in found.values()} == {
        *(("pixel error", n) for n in (320, 40)),
        (recipe.BITS, 320),
        (recipe.OBSERVED, 40),
    }


def test_two_baselines_are_compared_once(recipe: ModuleType) -> None:
    assert recipe.compared(["a", "b", "c"], ["a", "b"]) == [("c", "a"), ("c", "b"), ("b", "a")]
