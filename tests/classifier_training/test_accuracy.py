"""Accuracies, clean and under attack, against foolbox's."""

from __future__ import annotations

import warnings

import foolbox
import pytest
import torch
from torch import Tensor, nn

from unlogit.classifier_training.accuracy import PGD_STEPS, accuracy
from unlogit.classifiers import Classifier, Preprocessing
from unlogit.images import ImageSource, Loader, View
from unlogit.statistics import wilson


class Given(ImageSource):
    """Images that a test made."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.spec, self.class_names = "given:", tuple("abcde")
        self.images, self._labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> Tensor:
        return self._labels

    def decode(self, index: int) -> Tensor:
        return self.images[index]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 5))
    return Classifier(network, Preprocessing(None, (0.5,) * 3, (0.25,) * 3), tuple("abcde"), "3", "given:")


def source(classifier: Classifier, count: int = 200) -> Given:
    """Images that it is right about, sorted by class."""
    images = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(1)).byte()
    labels = classifier(images.float() / 255).argmax(1)
    order = labels.argsort()
    return Given(images[order], labels[order])


@pytest.mark.parametrize("epsilon", [2 / 255, 4 / 255, 8 / 255])
def test_it_is_foolbox_s(classifier: Classifier, epsilon: float) -> None:
    given = source(classifier)
    ours = accuracy(classifier, Loader(given, View(8), 64, seed=0), None, epsilon, 200, 200)
    assert ours["clean"]["accuracy"] == 1.0
    attack = foolbox.attacks.LinfPGD(steps=PGD_STEPS, rel_stepsize=2.5 / PGD_STEPS, random_start=True)
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = foolbox.PyTorchModel(classifier, bounds=(0, 1))
        _, _, fooled = attack(model, given.images.float() / 255, given.labels, epsilons=epsilon)
    theirs = 1 - float(fooled.float().mean())
    robust = ours[f"pgd-{PGD_STEPS}"]
    assert 0.02 < robust["accuracy"] < 0.98
    assert abs(robust["accuracy"] - theirs) < 0.02, (robust, theirs)
    interval = wilson(round(200 * robust["accuracy"]), 200)
    assert (robust["low"], robust["high"], robust["n"]) == (interval.low, interval.high, 200)


def test_few_are_spread_over_a_source_that_is_sorted_by_class(classifier: Classifier) -> None:
    given = source(classifier)
    kept = given.labels.clone()
    given.labels[:] = torch.where(kept < 3, kept, (kept + 1) % 5)  # so that it is wrong about the last two classes
    ours = accuracy(classifier, Loader(given, View(8), 64, seed=0), None, 0.0, 200, 50)
    share = float((kept < 3).float().mean())
    assert ours["clean"]["accuracy"] == pytest.approx(share)
    assert (ours["pgd-20"]["n"], ours["pgd-20"]["low"] < share < ours["pgd-20"]["high"]) == (50, True)


def test_labels_may_name_other_logits(classifier: Classifier) -> None:
    given = source(classifier)
    logit = torch.tensor([3, 1, 4, 0, 2])
    given.labels[:] = logit.argsort()[given.labels]
    ours = accuracy(classifier, Loader(given, View(8), 64, seed=0), logit, 0.0, 200, 10)
    assert ours["clean"]["accuracy"] == 1.0
