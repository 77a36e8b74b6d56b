"""Signs are told where they begin, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from unlogit.training import TrainConfig
from unlogit.training.health import LONG, Health, NotFinite, check_finite


@pytest.fixture
def health(tiny: Callable[..., TrainConfig]) -> Health:
    return Health(tiny(num_validation_images=500))


def test_a_run_of_more_than_a_day_is_warned_of_with_faster_choices(health: Health) -> None:
    assert not list(health.time_left(80_000))
    (line,) = health.time_left(1.7e6)
    assert "19.7 days" in line and "cpu-64" in line and "--num-images" in line


def test_losses_that_are_not_finite_are_named() -> None:
    check_finite({"loss_d": 1.0}, 5)
    with pytest.raises(NotFinite, match="loss_g, penalty not finite at 1,000 images"):
        check_finite({"loss_d": 1.0, "loss_g": float("nan"), "penalty": float("-inf")}, 1000)


def test_a_discriminator_that_wins_for_long_is_told_once(health: Health) -> None:
    told = [list(health.losses({"loss_d": -1.95})) for _ in range(2 * LONG)]
    assert [len(lines) for lines in told] == [0] * (LONG - 1) + [1] + [0] * LONG
    assert not list(health.losses({"loss_d": -1.5}))
    assert [len(list(health.losses({"loss_d": -1.95}))) for _ in range(LONG)][-1] == 1


def test_losses_that_end_at_zero_have_their_own_minimum(tiny: Callable[..., TrainConfig]) -> None:
    health = Health(tiny(adversarial="relativistic", gradient_penalty=1.0))
    assert not any(list(health.losses({"loss_d": 0.6})) for _ in range(2 * LONG))
    assert any(list(health.losses({"loss_d": 0.01})) for _ in range(LONG))


def test_uniform_reconstructions_are_told(health: Health) -> None:
    assert not list(health.figures({"variety": 0.8, "agreement": 0.1}, []))
    (line,) = health.figures({"variety": 0.01, "agreement": 0.1}, [])
    assert "collapsed" in line
    assert not list(health.figures({"variety": 0.01, "agreement": 0.1}, []))


def test_a_fall_of_agreement_beyond_chance_is_told(health: Health) -> None:
    """At 500 images a standard error of 0.4 is 0.022."""
    earlier = [{"agreement": 0.2}, {"agreement": 0.4}, {"agreement": 0.35}]
    assert not list(health.figures({"agreement": 0.33, "variety": 1.0}, earlier))
    (line,) = health.figures({"agreement": 0.25, "variety": 1.0}, earlier)
    assert "best/" in line
