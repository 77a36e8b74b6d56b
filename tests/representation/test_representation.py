"""Representations: the layers, their standardisation, and a cache that never changes what they are."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.classifiers import Classifier, open_classifier
from unlogit.classifiers.small import SmallConfig, SmallResNet, as_classifier
from unlogit.errors import UnlogitError
from unlogit.images import Batch, Loader, View, open_images
from unlogit.methods import open_inverter
from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig
from unlogit.representation import Representation, RepresentationCache
from unlogit.representation.cache import COMPARED
from unlogit.training import TrainConfig, train

TAPS = {
    "logits": 10,
    "label": 10,
    "softmax": 10,
    "log-softmax": 10,
    "softmax-top5": 10,
    "penultimate": 24,
    "stages.0": 8,
    "stages.1.0.conv1": 16,
}


def classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    net = SmallResNet(SmallConfig(10, 32, (8, 16, 24)))
    for _ in range(20):
        net.train()(torch.randn(16, 3, 32, 32))
    return as_classifier(net, [str(i) for i in range(10)], "test:small")


def pixels(count: int = 12, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layer", TAPS)
def test_every_layer_is_a_vector_an_image(layer: str) -> None:
    r = Representation(classifier(), layer)
    raw = r(pixels())
    assert raw.shape == (12, TAPS[layer]) and r.dim == TAPS[layer]
    assert raw.dtype == torch.float32 and not raw.requires_grad


def test_the_layers_are_what_they_say() -> None:
    c = classifier()
    x = pixels()
    logits = c(x).detach()
    of = {layer: Representation(c, layer)(x) for layer in TAPS}
    assert torch.equal(of["logits"], logits)
    assert torch.equal(of["label"], F.one_hot(logits.argmax(1), 10).float())
    assert torch.allclose(of["softmax"], logits.softmax(1))
    assert torch.allclose(of["log-softmax"], logits.softmax(1).log(), atol=1e-5)
    kept = of["softmax-top5"] > 0
    assert torch.equal(kept.sum(1), torch.full((len(x),), 5))
    assert torch.allclose(of["softmax-top5"][kept], logits.softmax(1)[kept])
    assert bool((logits.softmax(1)[~kept] <= of["softmax-top5"].where(kept, 1).amin(1).repeat_interleave(5)).all())
    assert torch.allclose(c.network.head(of["penultimate"]), logits, atol=1e-6)
    assert torch.allclose(of["stages.0"], c.features(x, ["stages.0"])["stages.0"].mean((2, 3)))


def test_tokens_are_averaged() -> None:
    c = open_classifier("timm:test_vit?pretrained=false")
    tokens = c.features(pixels(2), ["blocks.0"])["blocks.0"]
    assert tokens.ndim == 3
    assert torch.allclose(Representation(c, "blocks.0")(pixels(2)), tokens.mean(1))


def test_an_unknown_layer_is_one_clear_line() -> None:
    with pytest.raises(UnlogitError, match="unknown layer 'logit' of test:small"):
        Representation(classifier(), "logit")


def test_fitted_constants_standardise_exactly_the_images_that_they_were_fitted_on() -> None:
    r = Representation(classifier())
    x = pixels(40)
    assert r.fit(x.split(16)) is r
    raw = r.raw(x).double()
    standard = r.standardise(r.raw(x))
    assert torch.allclose(standard.double(), (raw - raw.mean(0)) / raw.std(0), atol=1e-5)
    assert torch.allclose(standard.mean(0), torch.zeros(10), atol=1e-5)
    assert torch.allclose(standard.std(0), torch.ones(10), atol=1e-5)


def test_standardisation_is_affine_so_that_manipulations_keep_their_meaning() -> None:
    r = Representation(classifier()).fit([pixels(40)])
    a, b = r(pixels(4, 2)), r(pixels(4, 3))
    between = r.standardise(0.3 * a + 0.7 * b)
    assert torch.allclose(between, 0.3 * r.standardise(a) + 0.7 * r.standardise(b), atol=1e-5)
    # Twice the logits is not the same condition: dividing by the norm would have made it so.
    assert not torch.allclose(r.standardise(2 * a), r.standardise(a), atol=0.1)


def test_a_dimension_that_never_varies_is_not_blown_up() -> None:
    c = classifier()
    c.network.head.weight[3] = 0
    r = Representation(c).fit([pixels(40)])
    assert r.scale[3] == pytest.approx(0.1 * 0.9 * float(r.scale[torch.arange(10) != 3].mean()), rel=0.01)
    assert r.standardise(r(pixels(40, 5)))[:, 3].abs().max() < 1e-2


def test_labels_are_left_as_they_are() -> None:
    r = Representation(classifier(), "label").fit([pixels()])
    assert torch.equal(r.standardise(r(pixels())), r(pixels()))


def test_constants_travel_in_the_state_dict_and_can_be_given() -> None:
    r = Representation(classifier()).fit([pixels(40)])
    again = Representation(classifier())
    again.load_state_dict(r.state_dict())
    given = Representation(classifier(), "logits", r.shift, r.scale)
    for other in (again, given):
        assert torch.equal(other.standardise(other(pixels())), r.standardise(r(pixels())))


class Counting(Representation):
    """Counts the images that the classifier had to see."""

    seen = 0

    def raw(self, pixels: Tensor) -> Tensor:
        self.seen += len(pixels)
        return super().raw(pixels)


def counting(layer: str = "logits", seed: int = 0) -> Counting:
    r = Counting(classifier(seed), layer)
    r.seen = 0  # less the probe of its length
    return r


SOURCE = "scenes:count=60"


def batches(view: View, count: int = 8) -> list[Batch]:
    loader = Loader(open_images(SOURCE), view, 20, seed=3)
    return [loader.batch(20 * i) for i in range(count)]


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-3)  # half precision


@pytest.mark.parametrize("flip", [False, True])
def test_cached_values_are_the_live_ones_each_computed_once(tmp_path: Path, flip: bool) -> None:
    r, view = counting(), View(32, flip=flip)
    cache = RepresentationCache(tmp_path / "cache", r, open_images(SOURCE), view)
    for batch in batches(view):
        assert close(cache(batch), Representation.raw(r, batch.images))
    # 8 batches of 20 of 60 images: 2 2/3 epochs
    assert r.seen == 60 if not flip else 60 < r.seen <= 120
    again = counting()
    other = RepresentationCache(tmp_path / "cache", again, open_images(SOURCE), view)
    assert again.seen == COMPARED
    for batch in batches(view):
        assert torch.equal(other(batch), cache(batch))
    assert again.seen == COMPARED


def test_two_at_once_see_each_other_s_rows(tmp_path: Path) -> None:
    view = View(32)
    a, b = counting(), counting()
    one = RepresentationCache(tmp_path, a, open_images(SOURCE), view)
    two = RepresentationCache(tmp_path, b, open_images(SOURCE), view)
    for place, batch in enumerate(batches(view)):
        assert close((one, two)[place % 2](batch), Representation.raw(a, batch.images))
    assert a.seen + b.seen == 60 and a.seen and b.seen


def test_a_full_disk_is_told_with_the_file_and_nothing_is_marked(tmp_path: Path) -> None:
    r, view = counting(), View(32)
    cache = RepresentationCache(tmp_path, r, open_images(SOURCE), view)
    batch = batches(view, 1)[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))  # Stands for a full disk: less than two rows.
    try:
        with pytest.raises(OSError, match=r"File too large: .*rows"):
            cache(batch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    seen = r.seen
    assert close(cache(batch), Representation.raw(r, batch.images))
    assert r.seen == 2 * seen


def test_another_classifier_layer_source_or_size_has_its_own_rows(tmp_path: Path) -> None:
    view = View(32)
    batch = batches(view, 1)[0]
    RepresentationCache(tmp_path, counting(), open_images(SOURCE), view)(batch)
    for r, source, other in (
        (counting(seed=1), SOURCE, view),
        (counting("penultimate"), SOURCE, view),
        (counting(), "scenes:count=60,seed=1", view),
        (counting(), SOURCE, View(64)),
    ):
        cache = RepresentationCache(tmp_path, r, open_images(source), other)
        seen = next(Loader(open_images(source), other, 20, seed=3).once())
        assert close(cache(seen), Representation.raw(r, seen.images))
        assert r.seen == 20


@pytest.mark.parametrize("damage", ["cut", "cut to nothing", "zeros", "bits", "longer"])
def test_damaged_rows_are_computed_again(tmp_path: Path, damage: str) -> None:
    r, view = counting(), View(32)
    batch = batches(view, 1)[0]
    RepresentationCache(tmp_path, r, open_images(SOURCE), view)(batch)
    (file,) = tmp_path.iterdir()
    opened = RepresentationCache(tmp_path, r, open_images(SOURCE), view)
    whole = file.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "cut to nothing": b"",
        "zeros": whole[:200] + bytes(len(whole) - 400) + whole[-200:],
        "bits": bytes(byte ^ (i % 50 == 7) for i, byte in enumerate(whole)),
        "longer": whole + b"more",
    }[damage]
    file.write_bytes(damaged)  # While one has it open, too.
    for cache in (opened, RepresentationCache(tmp_path, r, open_images(SOURCE), view)):
        assert close(cache(batch), Representation.raw(r, batch.images))


def test_rows_of_other_code_are_thrown_away_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = View(32)
    batch = batches(view, 1)[0]
    stale, r = counting(), counting()
    key = r.classifier.fingerprint()
    stale.classifier._digest = key  # As if nothing that is part of the key had changed.
    stale.classifier.network.head.weight *= 1.2
    RepresentationCache(tmp_path, stale, open_images(SOURCE), view)(batch)
    assert capsys.readouterr().err == ""
    cache = RepresentationCache(tmp_path, r, open_images(SOURCE), view)
    said = capsys.readouterr().err
    assert "does not match current outputs: recomputing it" in said and said.count("\n") == 1
    assert close(cache(batch), Representation.raw(r, batch.images))


def test_a_row_that_half_precision_cannot_hold_is_computed_each_time(tmp_path: Path) -> None:
    r, view = counting(), View(32)
    r.classifier.network.head.bias[0] = 1e5
    batch = batches(view, 1)[0]
    cache = RepresentationCache(tmp_path, r, open_images(SOURCE), view)
    for _ in range(2):
        torch.testing.assert_close(cache(batch), Representation.raw(r, batch.images))


def test_the_key_follows_the_code_and_the_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view, source = View(32), open_images(SOURCE)
    RepresentationCache(tmp_path, counting(), source, view)
    monkeypatch.setattr("unlogit.representation.cache.library_versions", lambda: "torch 99")
    RepresentationCache(tmp_path, counting(), source, view)
    monkeypatch.setattr("unlogit.representation.cache.code_digest", lambda *_: "other code")
    RepresentationCache(tmp_path, counting(), source, view)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("crop", "folder"), [("random", True), ("centre", False)])
def test_random_crops_or_no_folder_are_computed_live(tmp_path: Path, crop: str, folder: bool) -> None:
    r, view = counting(), View(32, crop)
    cache = RepresentationCache(tmp_path / "cache" if folder else None, r, open_images(SOURCE), view)
    for batch in batches(view):
        assert torch.equal(cache(batch), Representation.raw(r, batch.images))
    assert r.seen == 160
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layer", ["softmax", "softmax-top5", "stages.1?reduce=flatten"])
def test_a_training_takes_any_layer_and_saves_its_constants(
    layer: str, tiny_classifier_spec: str, tmp_path: Path
) -> None:
    config = TrainConfig(
        images="scenes:count=32",
        held_out="scenes:test,count=8",
        classifier=tiny_classifier_spec,
        out=tmp_path / "run",
        layer=layer,
        method=BigGANConfig(
            generator=GeneratorConfig(size=32, channels=2, noise=8, attention=None),
            discriminator=DiscriminatorConfig(channels=2, attention=None),
        ),
        num_images=16,
        batch=8,
        flip=False,
        num_validation_images=8,
        cache=tmp_path / "cache",
    )
    train(config)
    saved = open_inverter(str(tmp_path / "run" / "inverter")).representation
    images = [b.images for b in Loader(open_images("scenes:count=32"), View(32), 32, seed=0).once()]
    fitted = Representation(open_classifier(tiny_classifier_spec), layer).fit(images)
    assert saved.layer == layer
    assert torch.allclose(saved.shift, fitted.shift, atol=1e-5) and torch.allclose(saved.scale, fitted.scale, rtol=1e-4)
