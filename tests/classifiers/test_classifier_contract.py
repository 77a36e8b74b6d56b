"""The contract, walked through the registry: every source, on random weights (the packaged one's are real)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unlogit import classifiers, registry
from unlogit.classifiers import Classifier, open_classifier, probe
from unlogit.errors import UnlogitError
from unlogit.representation import Representation

SOURCES = registry.names("unlogit.classifiers")

FILES = {
    "checkpoint": "seven.safetensors",
    "fitted": "config.json",
    "madry": "robust.ckpt",
    "open_clip": "pets.txt",
    "python": "net.py",
    "small": "model.safetensors",
    "transformers": "model.safetensors",
}
"""What a source reads from disk."""


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def opened(spec_of: Callable[[str], str]) -> Callable[[str], Classifier]:
    """The classifier of a source, opened once."""
    made: dict[str, Classifier] = {}

    def classifier(source: str) -> Classifier:
        if source not in made:
            made[source] = open_classifier(spec_of(source))
        return made[source]

    return classifier


@pytest.fixture
def classifier(source: str, opened: Callable[[str], Classifier]) -> Classifier:
    return opened(source)


def folder_of(spec: str) -> Path:
    """Where the files are that a spec names."""
    return Path("/" + spec.partition("/")[2].partition("?")[0].partition(":")[0]).parent


def pixels(side: int = 40) -> Tensor:
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_this_walks_every_source_there_is(spec_of: Callable[[str], str]) -> None:
    assert all(spec_of(source).startswith(f"{source}:") for source in SOURCES)


def test_it_is_probed_once(source: str, spec_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    probed = []

    def count(classifier: Classifier) -> Classifier:
        probed.append(classifier.spec)
        return probe(classifier)

    monkeypatch.setattr(classifiers, "probe", count)
    assert [open_classifier(spec_of(source)).spec] == probed


def test_a_batch_gives_a_finite_logit_a_class(classifier: Classifier) -> None:
    logits = classifier(pixels())
    assert logits.shape == (3, len(classifier.class_names)) and logits.dtype == torch.float32
    assert logits.isfinite().all() and (logits.std(0) > 0).any()
    assert all(isinstance(name, str) and name for name in classifier.class_names)
    for bad in (pixels() * 255, pixels() - 0.5, (pixels() * 255).byte(), pixels()[:, :1]):
        with pytest.raises(UnlogitError, match="classifier input"):
            classifier(bad)


def test_it_is_frozen_and_differentiable(classifier: Classifier) -> None:
    x = pixels().requires_grad_()
    classifier.train()
    classifier(x).square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0
    assert not any(p.requires_grad or p.grad is not None for p in classifier.parameters())
    assert not any(m.training for m in classifier.modules())


def test_normalisation_is_sane(classifier: Classifier) -> None:
    preprocessing = classifier.preprocessing
    assert preprocessing.size is not None and preprocessing.size >= 32
    assert all(0 <= v <= 1 for v in preprocessing.mean) and all(0 < v <= 1 for v in preprocessing.std)
    assert classifier.prepare(pixels()).shape == (3, 3, preprocessing.size, preprocessing.size)


def test_the_penultimate_layer_is_what_the_last_linear_layer_reads(classifier: Classifier) -> None:
    found = classifier.features(pixels(), ["penultimate", "logits", classifier.penultimate])
    head = classifier.network.get_submodule(classifier.penultimate)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    assert torch.allclose(head(found["penultimate"]), found[classifier.penultimate], atol=1e-5)
    assert torch.allclose(found["logits"], classifier(pixels()), atol=1e-5)
    inputs = head.in_features if isinstance(head, nn.Linear) else head.in_channels
    assert Representation(classifier, "penultimate").dim == inputs


@pytest.mark.parametrize("layer", ["logits", "softmax", "label", "penultimate"])
def test_its_layers_give_a_vector_an_image(classifier: Classifier, layer: str) -> None:
    r = Representation(classifier, layer).fit([pixels()])
    assert r(pixels()).shape == (3, r.dim) and r.standardise(r(pixels())).isfinite().all()


def test_its_spec_opens_the_same_again_from_anywhere(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = open_classifier(classifier.spec)
    assert again.fingerprint() == classifier.fingerprint()
    assert (again.spec, again.class_names, again.preprocessing, again.penultimate) == (
        classifier.spec,
        classifier.class_names,
        classifier.preprocessing,
        classifier.penultimate,
    )
    assert torch.equal(again(pixels()), classifier(pixels()))


@pytest.mark.parametrize("source", sorted(FILES))
def test_a_relative_path_becomes_absolute(
    source: str, spec_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(source)
    folder = folder_of(spec)
    monkeypatch.chdir(folder)
    assert open_classifier(spec.replace(f"{folder}/", "")).spec == spec


def test_opening_leaves_the_stream_of_chance_alone(source: str, spec_of: Callable[[str], str]) -> None:
    spec = spec_of(source)
    torch.rand(1)
    state = torch.get_rng_state()
    open_classifier(spec)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_wrong_option_is_one_clear_line(source: str, spec_of: Callable[[str], str]) -> None:
    if source in ("fitted", "small"):
        pytest.skip("has no options")
    spec = spec_of(source)
    with pytest.raises(UnlogitError, match="unknown option of .* 'sizes': must be one of ") as error:
        open_classifier(f"{spec}{'&' if '?' in spec else '?'}sizes=64")
    assert "\n" not in str(error.value)


def test_a_name_that_is_not_there_is_one_clear_line(source: str) -> None:
    with pytest.raises(UnlogitError, match="nothing-of-this-name") as error:
        open_classifier(f"{source}:./nothing-of-this-name.py:make?arch=timm:test_resnet".partition("?s")[0])
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("source", sorted(FILES))
def test_a_broken_file_is_one_clear_line(source: str, spec_of: Callable[[str], str]) -> None:
    spec = spec_of(source)
    file = next(folder_of(spec).rglob(FILES[source]))
    whole = file.read_bytes()
    try:
        for damage in (whole[: len(whole) // 2] + b"\xff\xfe(", b""):
            file.write_bytes(damage)
            with pytest.raises(UnlogitError) as error:
                open_classifier(spec)
            assert "\n" not in str(error.value) and len(str(error.value)) < 600
    finally:
        file.write_bytes(whole)
