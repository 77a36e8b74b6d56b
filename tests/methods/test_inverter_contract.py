"""What every inverter keeps to, whichever its method: shapes, ranges, determinism, saving, how mistakes are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unlogit import registry
from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.methods import (
    DecoderInverter,
    FlowInverter,
    GeneratorInverter,
    Inverter,
    LearnedInverter,
    called,
    cost,
    open_inverter,
    untrained,
)
from unlogit.methods.biggan import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.methods.decoder.config import DecoderConfig
from unlogit.methods.decoder.networks import Decoder
from unlogit.methods.flow.config import VelocityConfig
from unlogit.methods.flow.network import Velocity
from unlogit.representation import Representation

SIZE, K = 32, 10
FACTS = {"deviations": ["method x"], "source": "Somebody 2020", "images_seen": 7}


def generator(representation: Representation) -> GeneratorInverter:
    config = GeneratorConfig(SIZE, channels=2, noise=8, hidden=4, attention=None, spectral_norm=False)
    return GeneratorInverter(representation, Generator(K, config), dict(FACTS), "saved")


def decoder(representation: Representation) -> DecoderInverter:
    return DecoderInverter(representation, Decoder(K, SIZE, DecoderConfig(2, 8)), dict(FACTS), "saved")


def flow(representation: Representation) -> FlowInverter:
    velocity = Velocity(K, SIZE, VelocityConfig(8, 16))
    torch.nn.init.normal_(
        next(velocity.last[2].parameters()), std=0.1
    )  # Which starts at zero: noise would pass unchanged.
    return FlowInverter(representation, velocity, dict(FACTS), "saved", steps=2)


LEARNED: dict[str, Callable[[Representation], LearnedInverter]] = {
    "biggan": generator,
    "decoder": decoder,
    "flow": flow,
}
NAMES = registry.names("unlogit.methods")
NOISY = {"biggan", "flow", "engstrom", "mahendran"}


@pytest.fixture(scope="module")
def inverters(tiny_classifier_spec: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Inverter]:
    """One of every kind that is registered."""
    representation = Representation(open_classifier(tiny_classifier_spec)).fit([torch.rand(32, 3, SIZE, SIZE)])
    torch.manual_seed(0)
    made: dict[str, Inverter] = {name: make(representation) for name, make in LEARNED.items()}
    ways = f"classifier={tiny_classifier_spec}&size={SIZE}"
    cache = tmp_path_factory.mktemp("cache")
    made["nearest"] = open_inverter(f"nearest:?{ways}&images=scenes:count=40&cache={cache}")
    made["engstrom"] = open_inverter(f"engstrom:?{ways}&steps=3")
    made["mahendran"] = open_inverter(f"mahendran:?{ways}&steps=3")
    return made


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(1))


def test_every_registered_one_is_tested(inverters: dict[str, Inverter]) -> None:
    assert sorted(inverters) == NAMES
    assert sorted([*untrained(), *LEARNED]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_images_come_out(inverters: dict[str, Inverter], images: Tensor, name: str) -> None:
    inverter = inverters[name]
    noise = inverter.sample_noise(3, torch.Generator().manual_seed(0))
    assert (noise is not None) == (name in NOISY)
    made = inverter.reconstruct(images, noise)
    assert made.shape == (3, 3, SIZE, SIZE) and made.dtype == torch.float32 and not made.requires_grad
    assert 0 <= made.min() and made.max() <= 1
    (seen,) = inverter.views(images)
    raw = inverter.representation.raw(seen)
    torch.testing.assert_close(inverter.invert(raw, noise), made)
    assert isinstance(inverter.name, str) and inverter.size == SIZE


@pytest.mark.parametrize("name", NAMES)
def test_the_same_noise_gives_the_same_images(inverters: dict[str, Inverter], images: Tensor, name: str) -> None:
    inverter = inverters[name]
    draws = [inverter.sample_noise(3, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    first, again, other = (inverter.reconstruct(images, noise) for noise in draws)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name not in NOISY)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_do_not_mix(inverters: dict[str, Inverter], images: Tensor, name: str) -> None:
    inverter = inverters[name]
    noise = inverter.sample_noise(3, torch.Generator().manual_seed(0))
    alone = inverter.reconstruct(images[1:2], None if noise is None else noise[1:2])
    # Optimisation follows the sign of tiny gradients, where rounding shows most.
    torch.testing.assert_close(inverter.reconstruct(images, noise)[1:2], alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_it_stays_in_evaluation_mode_inside_a_module_that_is_trained(
    inverters: dict[str, Inverter], images: Tensor, name: str
) -> None:
    inverter = inverters[name]
    noise = inverter.sample_noise(3, torch.Generator().manual_seed(0))
    before = inverter.reconstruct(images, noise)
    torch.nn.ModuleList([inverter]).train()
    assert inverter.train() is inverter
    assert not any(module.training for module in inverter.modules())
    assert torch.equal(inverter.reconstruct(images, noise), before)


@pytest.mark.parametrize("name", NAMES)
def test_another_length_is_one_clear_line(inverters: dict[str, Inverter], name: str) -> None:
    with pytest.raises(UnlogitError, match=r"shape \(2, 7\): this inverter reads N x 10 \(logits of small:"):
        inverters[name].invert(torch.zeros(2, 7))


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_is_counted(inverters: dict[str, Inverter], images: Tensor, name: str) -> None:
    spent = cost(inverters[name], inverters[name].representation.raw(images), repeats=1)
    assert spent.seconds > 0 and spent.batch == 3 and spent.device.startswith("cpu, ")
    if name == "nearest":
        assert spent.flops == 2 * K * 40  # One product with every row.
    assert spent.flops > 0


def test_the_count_of_a_decoder_is_that_of_its_layers(inverters: dict[str, Inverter]) -> None:
    # By hand: vectors 10-8-8-256; up-convolutions of 16 kernel places an input; 3x3 convolutions an output.
    vectors = 10 * 8 + 8 * 8 + 8 * 256
    ups = 16 * (4 * 4 * 16 * 16 + 8 * 8 * 16 * 8 + 16 * 16 * 8 * 4)
    convs = 9 * (8 * 8 * 16 * 16 + 16 * 16 * 8 * 8 + 32 * 32 * 4 * 4 + 32 * 32 * 4 * 3)
    assert cost(inverters["decoder"], torch.zeros(1, K), repeats=1).flops == 2 * (vectors + ups + convs)


@pytest.mark.parametrize("name", LEARNED)
def test_saved_and_opened_it_is_the_same(
    inverters: dict[str, Inverter], images: Tensor, name: str, tmp_path: Path
) -> None:
    inverter = inverters[name]
    assert isinstance(inverter, LearnedInverter)
    inverter.save(tmp_path / "inverter")
    again = open_inverter(str(tmp_path / "inverter"))
    assert type(again) is type(inverter) and isinstance(again, LearnedInverter)
    noise = inverter.sample_noise(3, torch.Generator().manual_seed(0))
    assert torch.equal(inverter.reconstruct(images, noise), again.reconstruct(images, noise))
    assert (again.name, again.deviations, again.size, again.facts) == ("saved", ("method x",), SIZE, inverter.facts)
    card = (tmp_path / "inverter" / "README.md").read_text()
    assert "Method: Somebody 2020" in card and "images seen: 7" in card and f"Reconstructs {SIZE} px" in card


def test_a_folder_of_another_kind_is_told(inverters: dict[str, Inverter], tmp_path: Path) -> None:
    saved = inverters["decoder"]
    assert isinstance(saved, LearnedInverter)
    saved.save(tmp_path)
    with pytest.raises(UnlogitError, match="is a decoder, not a generator: give the folder alone"):
        GeneratorInverter.load(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("engstrom:?steps=3", "option 'classifier' of .* is missing: add classifier=VALUE"),
        ("engstrom:?classifier=C&stepps=3", "unknown option .* 'stepps'.* Did you mean 'steps'"),
        ("engstrom:?classifier=C&steps=many", "option 'steps=many' of .*: must be a whole number"),
        ("engstrom:?classifier=C&steps=0", "steps 0: must be at least 1"),
        ("engstrom:?classifier=C&steps=1&steps=2", "give each option once, as steps=VALUE"),
        ("engstrom:?classifier=C&layer=label", "layer 'label' has no gradient"),
        ("engstrom:?classifier=C&epsilon=0", "epsilon 0.0: must be positive"),
        ("mahendran:?classifier=C&jitter=-1", "jitter -1: must not be negative"),
        ("mahendran:?classifier=C&start=mars:", "unknown images prefix 'mars'"),
        ("nearest:?classifier=C&images=mars:", "unknown images prefix 'mars'"),
        ("generator:?classifier=C", "must be a folder, a packaged inverter .* or a method"),
    ],
)
def test_mistakes_are_one_clear_line(tiny_classifier_spec: str, spec: str, message: str) -> None:
    with pytest.raises(UnlogitError, match=message) as told:
        open_inverter(spec.replace("=C", f"={tiny_classifier_spec}"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "rest", ["[small:{}/a&b]", "?classifier=[small:{}/a&b]", "?classifier=small:{}/a%26b", "[small:{}/a&b]&steps=3"]
)
def test_a_classifier_with_an_ampersand_stands_in_brackets_or_is_percent_encoded(rest: str, tmp_path: Path) -> None:
    with pytest.raises(UnlogitError, match="no config.json in .*a&b'"):
        open_inverter(f"engstrom:{rest.format(tmp_path)}")


def test_names_of_inverters() -> None:
    assert called("mine=runs/a/inverter") == ("mine", "runs/a/inverter")
    assert called("runs/a/inverter")[0] == "a"
    method = "engstrom:?classifier=small:c&steps=3"
    assert called(method) == ("engstrom", method)
    assert called(f"E={method}") == ("E", method)
