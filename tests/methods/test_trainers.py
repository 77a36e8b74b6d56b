"""Every method of training: it learns, resumes, and leaves an inverter; its losses against independent statements."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.images import Loader, View, open_images
from unlogit.methods import (
    DecoderInverter,
    FlowInverter,
    GeneratorInverter,
    LearnedInverter,
    MethodConfig,
    config_of,
    open_inverter,
    trainable,
)
from unlogit.methods.biggan import DiscriminatorConfig
from unlogit.methods.decoder import DOSOVITSKIY_2016A, DecoderConfig, DosovitskiyConfig
from unlogit.methods.decoder.comparator import Comparator
from unlogit.methods.decoder.networks import JointDiscriminator
from unlogit.methods.decoder.trainer import Balance
from unlogit.methods.flow import FlowConfig, VelocityConfig
from unlogit.methods.flow.network import Velocity
from unlogit.methods.flow.trainer import interpolate
from unlogit.runtime.checkpoint import Checkpoints
from unlogit.training import TrainConfig
from unlogit.training.loop import Training, train
from unlogit.training.run_folder import upgraded
from unlogit.training.validation import _begun

Tiny = Callable[..., TrainConfig]

DECODER, VELOCITY = DecoderConfig(4, 32), VelocityConfig(8, 16)
ADVERSARIAL = replace(DOSOVITSKIY_2016A, size=32, decoder=DECODER, module="stages.1", learning_rate=1e-3)
METHODS: dict[str, MethodConfig] = {
    "dosovitskiy2016a": ADVERSARIAL,
    "dosovitskiy2016b": DosovitskiyConfig(size=32, decoder=DECODER),
    "flow": FlowConfig(size=32, velocity=VELOCITY, steps=2),
}
"""Configurations of the methods beside the paper's, by what is shown with every figure."""
INVERTERS = {"biggan": GeneratorInverter, "decoder": DecoderInverter, "flow": FlowInverter}
ABLATIONS: dict[str, dict[str, object]] = {
    "relativistic": {"adversarial": "relativistic", "gradient_penalty": 1.0},
    "reencoding": {"reencoding_weight": 1.0},
}


def lines(config: TrainConfig) -> list[dict[str, float]]:
    return [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]


def test_every_registered_one_is_tested() -> None:
    assert sorted(INVERTERS) == trainable() == sorted({"biggan"} | {m.NAME for m in METHODS.values()})


@pytest.mark.parametrize("method", METHODS)
def test_it_learns_and_leaves_an_inverter(tiny: Tiny, method: str) -> None:
    config = tiny(
        method=METHODS[method],
        num_images=240,
        log_every=24,
        validate_every=240,
        checkpoint_every=240,
        num_validation_images=8,
    )
    figures = train(config)
    losses = [line["loss"] for line in lines(config) if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    inverter = open_inverter(str(config.out / "inverter"))
    assert type(inverter) is INVERTERS[METHODS[method].NAME] and isinstance(inverter, LearnedInverter)
    assert inverter.deviations == (f"method {method}",)
    assert ("diversity" in figures) == (inverter.sample_noise(1) is not None)
    assert inverter.facts["source"]


@pytest.mark.parametrize("method", METHODS)
def test_resuming_equals_not_stopping_bit_for_bit(tiny: Tiny, tmp_path: Path, method: str) -> None:
    changes = {
        "method": METHODS[method],
        "validate_every": 1_000,
        "num_validation_images": 4,
    }
    whole, parts = tiny(out=tmp_path / "whole", **changes), tiny(out=tmp_path / "parts", **changes)
    train(whole)
    for images in (16, 48):
        train(replace(parts, num_images=images))
    states = [Checkpoints(config.out / "checkpoints").load() for config in (whole, parts)]
    first, second = (flat(state) for state in states)
    assert first.keys() == second.keys()
    for path, value in first.items():
        assert torch.equal(second[path], value), path


def flat(value: object, path: str = "") -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {path: value}
    items = value.items() if isinstance(value, dict) else ()
    return {k: v for key, part in items for k, v in flat(part, f"{path}/{key}").items()}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_ablations_of_the_paper_train_and_are_told(tiny: Tiny, ablation: str) -> None:
    config = tiny(num_images=32, log_every=16, validate_every=1_000, num_validation_images=4, **ABLATIONS[ablation])
    train(config)
    told = {"relativistic": ("relativistic loss", "gradient penalty"), "reencoding": ("re-encoding term",)}
    assert config.deviations == told[ablation]
    extra = {"relativistic": "penalty", "reencoding": "reencoding"}[ablation]
    assert all(line[extra] > 0 for line in lines(config) if "loss_d" in line)


def test_a_run_from_before_a_setting_existed_goes_on(tiny: Tiny) -> None:
    config = tiny(num_images=16, validate_every=1_000, num_validation_images=4)
    train(config)
    path = config.out / "config.json"
    written = json.loads(path.read_text())
    del written["method"]["biggan"]["reencoding_weight"]
    del written["method"]["biggan"]["discriminator"]["widths"]
    path.write_text(json.dumps(written))
    train(replace(config, num_images=32))
    with pytest.raises(UnlogitError, match="method: biggan there, flow given"):
        train(replace(config, method=METHODS["flow"]))


def test_a_run_of_an_earlier_version_goes_on(tiny: Tiny) -> None:
    """All options stood at the top level, and the methods had other names."""
    config = tiny(num_images=16, validate_every=1_000, num_validation_images=4)
    train(config)
    path = config.out / "config.json"
    written = json.loads(path.read_text())
    flat = {k: v for k, v in written.items() if k != "method"} | written["method"]["biggan"] | {"method": "paper"}
    path.write_text(json.dumps(flat | {"velocity": {}, "flow": {"steps": 12}, "decoder": {}}))
    train(replace(config, num_images=32))
    flat |= {"method": "dosovitskiy2016a", "dosovitskiy2016a": {"pixel": 100.0}, "decoder": {"channels": 4}}
    assert upgraded(flat)["method"] == {"decoder": {"decoder": {"channels": 4}, "size": 32, "pixel": 100.0}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reencoding_weight": 1.0, "layer": "label"}, "a predicted class has no gradient"),
        ({"gradient_penalty": -1.0}, "gradient_penalty -1.0: must not be negative"),
    ],
)
def test_settings_out_of_range_are_told(tiny: Tiny, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UnlogitError, match=message):
        tiny(**changes)


def test_weights_and_steps_out_of_range_are_told() -> None:
    with pytest.raises(UnlogitError, match="pixel -1: must not be negative"):
        DosovitskiyConfig(pixel=-1)
    with pytest.raises(UnlogitError, match="steps 0: must be at least 1"):
        FlowConfig(steps=0)
    with pytest.raises(UnlogitError, match="unknown method 'flows': must be one of .* Did you mean 'flow'"):
        config_of("flows")


def test_the_paper_s_pixel_weight_is_their_sum_restated() -> None:
    """A Caffe Euclidean loss, in their range, weighted by 2e-6 against 100, and ours of the same images."""
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 3, 227, 227))
    caffe = 0.5 * ((255 * a - 255 * b) ** 2).sum()
    ours = DOSOVITSKIY_2016A.pixel * ((a - b) ** 2).mean()
    assert ours == pytest.approx(2e-6 * caffe / 100, rel=0.01)


@pytest.mark.parametrize("module", ["logits", "penultimate", "stages.1"])
def test_the_comparator_is_a_mean_square_in_standard_deviations(tiny_classifier_spec: str, module: str) -> None:
    classifier = open_classifier(tiny_classifier_spec)
    comparator = Comparator(classifier, module)
    source = open_images("scenes:count=64")
    images = torch.cat([batch.images for batch in Loader(source, View(32), 64, seed=0).once()])
    comparator.calibrate(images.split(16))
    found = classifier.features(images, [module])[module].double().flatten(1).numpy()
    deviation = np.sqrt(((found - found.mean(0)) ** 2).mean())
    wanted = ((found[:32] - found[32:]) ** 2).mean() / deviation**2
    assert float(comparator(images[:32], images[32:])) == pytest.approx(wanted, rel=1e-3)
    assert float(comparator(images[:32], images[:32])) == pytest.approx(0, abs=1e-6)
    moved = images[:2].clone().requires_grad_()
    comparator(moved, images[2:4]).backward()
    assert moved.grad is not None and moved.grad.abs().sum() > 0


def test_the_balance_pauses_who_is_far_ahead() -> None:
    balance = Balance()

    def after(loss_d: float, loss_g: float) -> tuple[bool, bool]:
        balance.weigh(torch.tensor(loss_d), torch.tensor(loss_g))
        return bool(balance.discriminator), bool(balance.generator)

    assert after(1.0, 1.0) == (True, True)
    assert after(0.09, 1.0) == (False, True)  # Far ahead: it pauses,
    assert after(0.4, 1.0) == (False, True)  # and stays so
    assert after(0.6, 1.0) == (True, True)  # until it is told half as well as before.
    assert after(11.0, 1.0) == (True, False)
    again = Balance()
    again.load_state_dict(balance.state_dict())
    assert not again.generator


def test_the_discriminator_sees_the_representation() -> None:
    torch.manual_seed(0)
    judge = JointDiscriminator(10, 32, DecoderConfig(4, 32))
    images = torch.rand(2, 3, 32, 32)
    scores = [judge(images, torch.randn(2, 10)) for _ in range(2)]
    assert scores[0].shape == (2,) and not torch.allclose(*scores)
    assert not torch.allclose(judge(images, torch.ones(2, 10)), judge(1 - images, torch.ones(2, 10)))


def test_paths_are_straight() -> None:
    noise, images = torch.randn(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    start, velocity = interpolate(noise, images, torch.zeros(2))
    torch.testing.assert_close(start, noise)
    torch.testing.assert_close(interpolate(noise, images, torch.ones(2))[0], images)
    time = torch.tensor([0.25, 0.75])
    here, _ = interpolate(noise, images, time)
    torch.testing.assert_close(here, noise + time.view(2, 1, 1, 1) * velocity)


def test_the_flow_is_integrated(tiny_classifier_spec: str) -> None:
    """A velocity that is known: dx/dt = -x leads to exp(-1) of the noise, with Heun's error at each step."""
    from unlogit.representation import Representation

    class Shrinking(Velocity):
        def forward(self, x: Tensor, time: Tensor, representation: Tensor) -> Tensor:
            return -x

    representation = Representation(open_classifier(tiny_classifier_spec))
    network = Shrinking(representation.dim, 32, VELOCITY)
    inverter = FlowInverter(representation, network, {"deviations": []}, steps=4)
    noise = 0.5 * torch.rand(2, 3, 32, 32)
    made = inverter.invert(torch.zeros(2, representation.dim), noise)
    heun = (1 - 0.25 + 0.25**2 / 2) ** 4
    torch.testing.assert_close(made, (1 + heun * noise) / 2)
    assert heun == pytest.approx(np.exp(-1), rel=0.02)


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_a_run_can_begin_with_a_trained_inverter(tiny: Tiny, tmp_path: Path, spectral_norm: bool) -> None:
    generator = replace(tiny().method.generator, spectral_norm=spectral_norm)
    first = tiny(generator=generator)
    train(first)
    config = tiny(generator=generator, start=str(first.out / "inverter"), out=tmp_path / "second")
    method = Training(config, torch.device("cpu")).trainer
    before, after = open_inverter(str(first.out / "inverter")), method.inverter({"deviations": ()})
    images = View(32).apply(open_images("scenes:count=8").read(range(8)))
    raw, noise = before.representation.raw(images), torch.randn(8, 16)
    # Its network is the same; standing statistics are estimated anew, on the same images.
    torch.testing.assert_close(after.invert(raw, noise), before.invert(raw, noise), rtol=1e-3, atol=1e-3)
    assert "started from another inverter" in config.deviations
    begun = {"start": config.start, "images_before": first.num_images, "took_part": before.took_part()}
    begun |= {"earlier_training": [open_images(first.images).fingerprint()]}
    assert _begun(config.start) == begun
    assert _begun(str(tmp_path / "gone")) == {"start": str(tmp_path / "gone")}


def test_a_run_can_begin_with_the_discriminator_that_is_saved_beside_an_inverter(
    tiny: Tiny, projected: DiscriminatorConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tiny(discriminator=projected, num_images=16, validate_every=16)
    train(first)
    learned = Training(first, torch.device("cpu")).trainer
    saved = open_inverter(str(first.out / "inverter")).discriminator
    assert flat(saved).keys() == flat(learned.discriminator.state_dict()).keys()
    # A branch that was not there before begins with random weights.
    branch = replace(projected, pixel_channels=4)
    start = {"start": str(first.out / "inverter"), "out": tmp_path / "second"}
    second = Training(tiny(discriminator=branch, **start), torch.device("cpu")).trainer
    for name, value in second.discriminator.state_dict().items():
        if not name.startswith("pixels."):
            torch.testing.assert_close(value, learned.discriminator.state_dict()[name])
    # A part that this run lacks is left out, and the others still begin with the saved weights.
    both = tiny(discriminator=replace(branch, second_network=projected.network), num_images=16, validate_every=16)
    both = replace(both, out=tmp_path / "both")
    train(both)
    saved = open_inverter(str(both.out / "inverter")).discriminator
    assert {"second", "pixels"} <= {name.partition(".")[0] for name in saved}
    less = {"start": str(both.out / "inverter"), "out": tmp_path / "less"}
    alone = Training(tiny(discriminator=projected, **less), torch.device("cpu")).trainer
    for name, value in alone.discriminator.state_dict().items():
        torch.testing.assert_close(saved[name], value)
    assert not capsys.readouterr().err.count("warning: the discriminator")
    # Nothing fits: other maps, another kind of discriminator.
    other = replace(projected, maps=("stages.0", "penultimate"), widths=(12,))
    for number, unlike in enumerate((other, DiscriminatorConfig(kind="paper", channels=2, attention=None))):
        Training(tiny(discriminator=unlike, **start | {"out": tmp_path / f"unlike{number}"}), torch.device("cpu"))
        assert "does not fit this run, whose discriminator begins with random weights" in capsys.readouterr().err


def test_an_inverter_is_saved_with_its_discriminator_or_without(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny(num_images=16, validate_every=16))
    inverter = open_inverter(str(tiny().out / "inverter"))
    for bits in (None, 8):
        inverter.save(tmp_path / "again", bits)
        assert (tmp_path / "again" / "discriminator.safetensors").exists()
        again = open_inverter(str(tmp_path / "again")).discriminator
        for name, value in inverter.discriminator.items():
            torch.testing.assert_close(again[name], value, rtol=0, atol=0 if bits is None else 0.02)
    inverter.discriminator = {}
    inverter.save(tmp_path / "again")
    assert not (tmp_path / "again" / "discriminator.safetensors").exists()


def test_learning_rates_fall_to_zero_at_the_end(tiny: Tiny) -> None:
    method = Training(tiny(num_images=80, decay=0.5, d_steps=1, rollback=1), torch.device("cpu")).trainer
    (generator, *_) = method.parts()["optimiser_g"].param_groups
    rates = []
    for images in (0, 40, 60, 79):
        method.images = images
        method.schedule()
        rates.append(generator["lr"] / tiny().method.learning_rate_g)
    assert rates == pytest.approx([1, 1, 0.5, 0.025])
    method.at_rate(0.5)
    assert generator["lr"] == pytest.approx(0.0125 * tiny().method.learning_rate_g)


def test_the_discriminator_can_learn_first(tiny: Tiny) -> None:
    method = Training(tiny(discriminator_first=16), torch.device("cpu")).trainer
    for learns in ("discriminator", "discriminator", "generator"):
        before = {name: copy.deepcopy(method.parts()[name].state_dict()) for name in ("discriminator", "generator")}
        told = method.step()
        same = {
            name: all(torch.equal(v, state[k]) for k, v in dict(method.parts()[name].named_parameters()).items())
            for name, state in before.items()
        }
        assert not same["discriminator"]
        assert same["generator"] == (learns == "discriminator")
        assert ("loss_g" in told) == (learns == "generator")


def test_a_start_that_does_not_fit_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    first = tiny(num_images=8, validate_every=8)
    train(first)
    other = replace(first.method.generator, channels=8, noise=8)
    with pytest.raises(UnlogitError, match=r"start '.*' does not fit this configuration .*: give the method, size"):
        train(tiny(generator=other, start=str(first.out / "inverter"), out=tmp_path / "second"))
    with pytest.raises(UnlogitError, match="has no weights to start from"):
        train(tiny(start=f"nearest:?classifier={first.classifier}&images=scenes:count=8", out=tmp_path / "second"))


def test_averaging_begins_where_it_is_asked_to_with_a_constant_half_life(tiny: Tiny) -> None:
    method = Training(tiny(ema_start=1_000, ema_half_life=16, batch=8, d_steps=1), torch.device("cpu")).trainer
    method.images = 999
    assert method.ema_decay == 0.0
    method.images = 1_000
    # A step of 8 images is half of the half-life.
    assert method.ema_decay == pytest.approx(0.5**0.5)


def test_a_spatial_map_is_inverted_and_saved(tiny: Tiny) -> None:
    config = tiny(num_images=16)
    side = 4
    shaped = replace(
        config,
        layer="stages.2?reduce=flatten",
        method=replace(config.method, generator=replace(config.method.generator, map=(16, side, side))),
    )
    train(shaped)
    inverter = open_inverter(str(shaped.out / "inverter"))
    assert isinstance(inverter, GeneratorInverter)
    assert inverter.generator.config.map == (16, side, side)
    assert "spatial map in the generator" in inverter.deviations
