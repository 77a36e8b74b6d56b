"""Small stand-ins of random weights, shared by the tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from unlogit.classifiers.small import SmallConfig, SmallResNet, as_classifier, save_small
from unlogit.images import ImageSource, Loader, View, open_images
from unlogit.methods import GeneratorInverter, Inverter
from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.methods.nearest import NearestNeighbour
from unlogit.representation import Representation
from unlogit.training import TrainConfig

SIZE = 32
TESTS = Path(__file__).parent

# Examples are the same in every run, and a slow machine is no failure.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


LONG = ("recipes", "web")
"""Folders whose files take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files that take long come first, so that no process of several is left alone with one at the end.
    items.sort(key=lambda item: item.path.relative_to(TESTS).parts[0] not in LONG)
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def few_standing_images() -> Iterator[None]:
    """Take the statistics of a saved generator over 16 images: over 1,024 they are most of the time of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlogit.methods.biggan.trainer.STANDING_IMAGES", 16)
        yield


@pytest.fixture(scope="session")
def tiny_classifier_spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`small:FOLDER` of a classifier of scenes with random weights."""
    folder: Path = tmp_path_factory.mktemp("classifier") / "tiny"
    torch.manual_seed(0)
    names = open_images("scenes:").class_names
    save_small(folder, SmallResNet(SmallConfig(len(names), SIZE, (8, 8, 16))), names, {})
    return f"small:{folder}"


def tiny_representation(layer: str, seed: int = 0) -> Representation:
    """Of a random classifier of scenes, standardised on some."""
    torch.manual_seed(seed)
    source = open_images("scenes:count=64")
    network = SmallResNet(SmallConfig(len(source.class_names), SIZE, (8, 8, 16)))
    classifier = as_classifier(network, source.class_names, f"small:random-{seed}")
    return Representation(classifier, layer).fit(b.images for b in Loader(source, View(SIZE), 64, seed=0).once())


def tiny_generator(layer: str, name: str, seed: int = 0) -> GeneratorInverter:
    """An inverter of random weights."""
    representation = tiny_representation(layer, seed)
    torch.manual_seed(seed)
    generator = Generator(representation.dim, GeneratorConfig(SIZE, channels=4, noise=8, attention=None))
    return GeneratorInverter(representation, generator, {"deviations": ["warm start"]}, name)


@pytest.fixture(scope="session")
def tiny_inverters() -> dict[str, Inverter]:
    """One of logits, one of labels, one of another classifier, and the nearest neighbour."""
    logits = tiny_generator("logits", "standard")
    near = NearestNeighbour(logits.representation, open_images("scenes:count=40"), View(SIZE))
    return {
        "standard": logits,
        "label only": tiny_generator("label", "label only"),
        "robust": tiny_generator("logits", "robust", seed=1),
        "nearest": near,
    }


@pytest.fixture(scope="session")
def tiny_scenes() -> ImageSource:
    """Held-out scenes."""
    return open_images("scenes:test,count=100")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium of the system's, by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'unlogit[dev]'")
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no Chromium on this machine: make test-tools")
    with playwright.sync_playwright() as driver:
        # Without its sandbox, which needs rights that containers and root do not have; it opens our own pages only.
        browser = driver.chromium.launch(executable_path=found[0], args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def tiny(tiny_classifier_spec: str, tmp_path: Path) -> Callable[..., TrainConfig]:
    """A configuration of a run of a few steps; arguments replace its fields, or those of the paper's method."""
    base = TrainConfig(
        images="scenes:count=48",
        held_out="scenes:test,count=20",
        classifier=tiny_classifier_spec,
        out=tmp_path / "run",
        method=BigGANConfig(
            generator=GeneratorConfig(size=32, channels=4, noise=16, attention=None),
            discriminator=DiscriminatorConfig(channels=4, attention=None),
        ),
        num_images=48,
        batch=8,
        log_every=8,
        checkpoint_every=16,
        validate_every=32,
        num_validation_images=16,
        cache=tmp_path / "cache",
    )

    def make(**changes: Any) -> TrainConfig:
        own = {field.name for field in fields(BigGANConfig)}
        method = replace(base.method, **{name: value for name, value in changes.items() if name in own})
        return replace(base, **{"method": method} | {name: v for name, v in changes.items() if name not in own})

    return make


@pytest.fixture
def projected(tiny_classifier_spec: str) -> DiscriminatorConfig:
    return DiscriminatorConfig(
        kind="projected", network=tiny_classifier_spec, maps=("stages.0", "stages.1", "penultimate"), widths=(8, 8)
    )
