"""What analyses read is what the inverters do."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from unlogit.analyses import Evidence, perceptual_network
from unlogit.errors import UnlogitError
from unlogit.images import ImageSource, Loader, View, open_images
from unlogit.methods import Inverter, open_inverter
from unlogit.methods.nearest import NearestNeighbour


@pytest.fixture
def evidence(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> Evidence:
    return Evidence(tiny_scenes, tiny_inverters, limit=70)


def test_originals_are_the_held_out_images(evidence: Evidence, tiny_scenes: ImageSource) -> None:
    assert len(evidence) == len(evidence.indices) == len(evidence.labels) == 70
    expected = torch.stack([tiny_scenes.decode(i) for i in evidence.indices.tolist()])
    # Scenes rendered together or one by one may round differently.
    assert (evidence.originals.bytes.int() - expected.int()).abs().max() <= 1
    assert torch.equal(evidence.labels, tiny_scenes.labels[evidence.indices])


@pytest.mark.parametrize("name", ["standard", "label only", "robust", "nearest"])
def test_reconstructions_are_those_of_the_inverter_seen_by_its_own_classifier(
    name: str, evidence: Evidence, tiny_inverters: dict[str, Inverter]
) -> None:
    inverter = tiny_inverters[name]
    made = evidence.reconstructed(name)
    first = evidence.originals[:64]  # the first chunk, with its noise
    expected = inverter.reconstruct(first, evidence.noise(inverter, 64, 0))
    assert torch.allclose(made.images[:64], expected, atol=0.003)
    classifier = inverter.representation.classifier
    assert torch.allclose(made.logits[:64], classifier(first), atol=1e-4)
    assert torch.allclose(made.reencoded[:64], classifier(made.images[:64]), atol=1e-4)
    assert len(made.images) == len(made.reencoded) == 70


def test_a_classifier_sees_the_originals_once(
    evidence: Evidence, tiny_inverters: dict[str, Inverter], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = tiny_inverters["standard"].representation.classifier
    seen = 0
    original = type(classifier).features

    def features(self: object, pixels: torch.Tensor, modules: list[str]) -> object:
        nonlocal seen
        seen += len(pixels)
        return original(self, pixels, modules)  # type: ignore[arg-type]

    monkeypatch.setattr(type(classifier), "features", features)
    # Three of the four share their classifier, with two layers between them.
    layers = [evidence.encoded(name) for name in ("standard", "label only", "nearest")]
    assert seen == 70
    assert layers[0] is layers[1] is layers[2]
    evidence.encoded("robust")
    assert seen == 140


def test_noise_depends_on_seed_place_and_draw_alone(
    tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]
) -> None:
    one = Evidence(tiny_scenes, {"a": tiny_inverters["standard"]}, limit=70)
    same = Evidence(tiny_scenes, tiny_inverters, limit=70)
    made = same.reconstructed("standard").images.bytes
    assert torch.equal(one.reconstructed("a").images.bytes, made)
    other = Evidence(tiny_scenes, tiny_inverters, limit=70, seed=1)
    assert not torch.equal(other.reconstructed("standard").images.bytes, made)
    assert torch.equal(other.originals.bytes, same.originals.bytes)
    which = same.sample(5, 0)
    draws = same.draws("standard", which, 3)
    assert draws is not None
    assert draws.shape == (3, 5, 3, 32, 32)
    assert not torch.equal(draws[0], draws[1])
    raw = same.encoded("standard").raw["logits"][which]
    inverter = tiny_inverters["standard"]
    assert torch.allclose(draws[2], inverter.invert(raw, same.noise(inverter, 5, 0, 3)), atol=1e-6)
    assert same.draws("nearest", which, 3) is None


def test_what_cannot_be_compared_is_refused(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> None:
    with pytest.raises(UnlogitError, match="at least one inverter"):
        Evidence(tiny_scenes, {})
    other = NearestNeighbour(tiny_inverters["standard"].representation, open_images("scenes:count=4,size=16"), View(16))
    with pytest.raises(UnlogitError, match="different sizes"):
        Evidence(tiny_scenes, tiny_inverters | {"other": other})


def test_a_diverged_inverter_is_told(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> None:
    diverged = copy.deepcopy(tiny_inverters["standard"])
    next(diverged.generator.parameters()).data.fill_(torch.nan)  # type: ignore[union-attr, operator]
    with pytest.raises(UnlogitError, match="inverter 'bad' returns non-finite values"):
        Evidence(tiny_scenes, {"bad": diverged}).reconstructed("bad")


def test_a_limit_spreads_over_the_source(tiny_scenes: ImageSource, tiny_inverters: dict[str, Inverter]) -> None:
    few = Evidence(tiny_scenes, tiny_inverters, limit=5)
    expected = torch.cat([b.indices for b in Loader(tiny_scenes, View(32), 64, seed=0).once(5)])
    assert torch.equal(few.indices, expected)
    assert few.indices.max() > 10


def test_the_fingerprint_follows_what_the_images_are(
    tiny_inverters: dict[str, Inverter], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(change: Callable[[ImageSource], None] = lambda _: None) -> str:
        source = open_images("scenes:test,count=40")
        change(source)
        return Evidence(source, {"a": tiny_inverters["standard"]}, limit=20).fingerprint()

    def repaint(source: ImageSource) -> None:
        """Other images under the same fingerprint, as where a source looks at a few of its files."""
        images = source.read
        monkeypatch.setattr(source, "read", lambda indices: [255 - p for p in images(indices)])

    def relabel(source: ImageSource) -> None:
        monkeypatch.setattr(type(source), "labels", property(lambda self: torch.zeros(len(self), dtype=torch.int64)))

    def rename(source: ImageSource) -> None:
        source.class_names = tuple(reversed(source.class_names))

    plain = fingerprint()
    assert fingerprint() == plain
    assert len({plain, fingerprint(repaint), fingerprint(rename), fingerprint(relabel)}) == 4


def test_perceptual_distances_are_not_taken_in_a_twin_of_what_is_measured() -> None:
    found = perceptual_network({"fine-tuned from lite0": open_inverter("lite0_robust")})
    assert found is not None
    assert found.spec == "packaged:efficientnet_lite1?size=64"
