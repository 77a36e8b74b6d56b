"""Per-image metrics by name, against independent implementations and known answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from unlogit import metrics
from unlogit.errors import UnlogitError
from unlogit.metrics import perceptual

LIGHT = ("pixel_error", "psnr", "ssim", "layout_error")


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(5, 3, 6, 6, generator=generator), (32, 32), mode="bilinear")
    return smooth, (smooth + 0.15 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("name", LIGHT)
def test_a_metric_prefers_the_image_itself(name: str, images: tuple[Tensor, Tensor]) -> None:
    metric = metrics.get(name)
    same, noisy = metric(images[0], images[0]), metric(*images)
    assert same.shape == noisy.shape == (5,)
    assert bool((same > noisy).all() if metric.better == "higher" else (same < noisy).all())
    assert metric.name == name


def test_ssim_and_psnr_agree_with_torchmetrics(images: tuple[Tensor, Tensor]) -> None:
    image = pytest.importorskip("torchmetrics.functional.image")
    a, b = images
    similarity = image.structural_similarity_index_measure
    _, places = similarity(b, a, data_range=1.0, reduction="none", return_full_image=True)
    # Its own mean takes in places where the window looks beyond the image, at pixels that it made up.
    assert torch.allclose(metrics.get("ssim")(a, b), places[..., 5:-5, 5:-5].mean((1, 2, 3)), atol=1e-5)
    expected = image.peak_signal_noise_ratio(b, a, data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert torch.allclose(metrics.get("psnr")(a, b), expected, atol=1e-4)


def test_known_answers() -> None:
    a = torch.full((2, 3, 16, 16), 0.5)
    assert metrics.get("psnr")(a, a + 0.1).tolist() == pytest.approx([20, 20], abs=1e-3)
    assert metrics.get("psnr")(a, a).tolist() == pytest.approx([58.92, 58.92], abs=0.01)
    # Flat images: only the luminance term is left.
    luminance = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)
    assert metrics.get("ssim")(a, a + 0.1).tolist() == pytest.approx([luminance] * 2, abs=1e-4)


def test_either_way_round_forgives_a_mirror_image_alone(images: tuple[Tensor, Tensor]) -> None:
    a, b = images
    for name in LIGHT[:3]:
        metric, flip = metrics.get(name), metrics.get(f"{name}_flip")
        assert flip.better == metric.better
        assert torch.allclose(flip(a, b.flip(3)), flip(a, b), atol=1e-6)
        assert torch.allclose(flip(a, a.flip(3)), metric(a, a), atol=1e-6)
        assert not torch.allclose(flip(a, a.flip(2)), metric(a, a), atol=1e-2)


def test_chunks_change_nothing(images: tuple[Tensor, Tensor]) -> None:
    a, b = (x.repeat(30, 1, 1, 1) for x in images)
    assert torch.allclose(metrics.get("ssim")(a, b)[:5], metrics.get("ssim")(*images), atol=1e-6)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnlogitError, match=r"unknown metric 'sssim'.*lpips_alex.*Did you mean 'ssim'"):
        metrics.get("sssim")
    with pytest.raises(UnlogitError, match="originals"):
        metrics.get("ssim")(torch.full((1, 3, 16, 16), 2.0), torch.zeros(1, 3, 16, 16))


def test_features_of_any_classifier(tiny_classifier_spec: str, images: tuple[Tensor, Tensor]) -> None:
    metric = metrics.get(f"features:{tiny_classifier_spec}")
    assert metric(images[0], images[0]).tolist() == pytest.approx([1] * 5, abs=1e-5)
    assert (metric(*images) < 1).all()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch's hub."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("tried to download"))
    perceptual.lpips.cache_clear()
    perceptual.dists.cache_clear()
    yield tmp_path / "checkpoints"
    perceptual.lpips.cache_clear()
    perceptual.dists.cache_clear()


@pytest.mark.parametrize("name", ["lpips_alex", "lpips_vgg", "lpips_squeeze", "dists"])
def test_missing_weights_are_told_and_never_downloaded(name: str, hub: Path) -> None:
    pytest.importorskip("lpips")
    pytest.importorskip("DISTS_pytorch")
    with pytest.raises(metrics.Unavailable, match=r"weights that are not at .*checkpoints.*weights='IMAGENET1K_V1'"):
        metrics.get(name)


def test_lpips_is_torchmetrics_lpips(hub: Path, images: tuple[Tensor, Tensor]) -> None:
    pytest.importorskip("lpips")
    module = pytest.importorskip("torchmetrics.image.lpip")
    hub.mkdir()
    torch.manual_seed(0)
    url = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url
    torch.save(torchvision.models.squeezenet1_1().state_dict(), hub / Path(url).name)
    state = torch.get_rng_state()
    metric = metrics.get("lpips_squeeze")
    assert torch.equal(torch.get_rng_state(), state)
    reference = module.LearnedPerceptualImagePatchSimilarity("squeeze", reduction="sum", normalize=True)
    expected = [float(reference(a[None], b[None])) for a, b in zip(*images, strict=True)]
    assert metric(*images).tolist() == pytest.approx(expected, rel=1e-4)
    assert metric(images[0], images[0]).abs().max() < 1e-6


def test_st_lpips_needs_its_package_alone(hub: Path, images: tuple[Tensor, Tensor]) -> None:
    for module in ("stlpips_pytorch", "IPython", "torchsummary"):
        pytest.importorskip(module)
    metric = metrics.get("st_lpips_alex")
    a, b = images
    assert metric(a, a).abs().max() < 1e-6
    # What the name says: a shift by a pixel matters less than the noise does.
    assert (metric(a, a.roll(1, 3)) < metric(a, b)).all()


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, hub: Path) -> None:
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        metrics.Unavailable, match=r"package lpips, which is not installed: pip install .unlogit\[metrics\]"
    ):
        metrics.get("lpips_alex")
