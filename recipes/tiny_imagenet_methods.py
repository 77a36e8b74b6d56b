"""Compare all inversion methods on natural images at 64 px: one of the twins, one table and one figure.

Run (the same command resumes what it trains):

    python recipes/tiny_imagenet_methods.py --data DIR --kind robust
    python recipes/tiny_imagenet_methods.py --data DIR --kind robust --learned   # without the learned rivals

"paper" is the packaged inverter, with its deviations. Rivals are trained here on `--num-images` of its images, against
the same classifier: "as many images" from random weights like all other rivals, "paper + re-encoding" from the weights
of "paper". `DIR` holds Tiny ImageNet as for `tiny_imagenet_lite0.py`. Writes methods.csv, methods.png and
methods-contrasts.csv (each method minus "paper" and minus "paper, as many images" on the same images, with the paired
interval, p (Holm) and verdict) into runs/natural_methods/KIND. Expected: the tables in RESULTS.md, which has their
commands.

"Same class" and "logit cosine" favour methods that train or optimise against the inverted classifier: Dosovitskiy &
Brox 2016a, which compares its features, the re-encoding loss, and the optimisation methods. The judge of "same class
for the judge" is the other twin. For the standard twin, the discriminator of each "paper" uses the features of that
judge, so that it is not independent there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tiny_imagenet_lite0
import tyro
from scenes_methods import OPTIMISED, compare

from unlogit.classifiers import open_classifier
from unlogit.cli import guarded
from unlogit.methods import Inverter, LearnedInverter, open_inverter
from unlogit.methods.decoder import DOSOVITSKIY_2016A, DecoderConfig, DosovitskiyConfig
from unlogit.methods.flow import FlowConfig
from unlogit.settings import Checked, Count
from unlogit.training import TrainConfig, train

BASELINES = ("paper", "paper, as many images")
"""Methods that each other one is compared with; the second has seen as many images as the rivals."""


@dataclass(frozen=True)
class Natural(Checked):
    """Options: classifier, length of training, and methods."""

    data: Path
    """Folder with Tiny ImageNet as for tiny_imagenet_lite0.py: train-*.parquet and val.parquet."""
    kind: Literal["robust", "standard"] = "robust"
    """Twin to invert: "robust" or "standard"."""
    out: Path = Path("runs/natural_methods")
    """Folder for the results, which go to OUT/KIND."""
    training: Count = 98_000
    """Number of rows of train-*.parquet to train on; the rows after them are for validation."""
    num_images: int = 64_000
    """Number of training images seen by each learned rival."""
    held_out: int = 1_000
    """Number of held-out images on which the other methods are measured."""
    optimised: int = 64
    """Number of images on which the optimisation methods are measured, which are slow."""
    drawn: int = 256
    """Number of images on which the flow is measured, which is slow too."""
    steps: int = 500
    """Number of gradient steps of the optimisation methods."""
    shown: int = 8
    """Number of images in the figure."""
    learned: tuple[str, ...] = (
        "paper + re-encoding",
        "paper, as many images",
        "paper, as many images, no warm start",
        "paper + re-encoding, as many images",
        "Dosovitskiy & Brox 2016a",
        "Dosovitskiy & Brox 2016b",
        "flow",
    )
    """Learned rivals to train and measure, by name."""


def configs(n: Natural) -> dict[str, TrainConfig]:
    """Return the trainings of the learned rivals, by the name shown."""
    classifier, folder = f"fitted:lite0_{n.kind}", n.out / n.kind / "learned"
    recipe = tiny_imagenet_lite0.Recipe(
        data=n.data, training=n.training, classifier=classifier, num_images=n.num_images
    )
    paper = replace(tiny_imagenet_lite0.config(recipe), cache=n.out / "cache")
    further = tiny_imagenet_lite0.config(replace(recipe, start=f"lite0_{n.kind}", reencoding=1.0))
    # A decoder of about the generator's cost.
    decoder: dict[str, Any] = {"size": paper.size, "decoder": DecoderConfig(channels=32, hidden=512)}
    # As the recipe had it when the rivals were measured.
    equal = replace(
        paper,
        method=replace(paper.method, warm_start=n.num_images // 4, discriminator_first=n.num_images // 16),
    )
    return {
        "paper + re-encoding": replace(further, cache=paper.cache, out=folder / "reencoding"),
        "paper, as many images": replace(equal, out=folder / "paper"),
        "paper, as many images, no warm start": replace(paper, out=folder / "paper-cold"),
        "paper + re-encoding, as many images": replace(
            equal, method=replace(equal.method, reencoding_weight=1.0), out=folder / "paper-reencoding"
        ),
        "Dosovitskiy & Brox 2016a": replace(
            paper,
            method=replace(DOSOVITSKIY_2016A, module="blocks.6", **decoder),
            out=folder / "dosovitskiy2016a",
        ),
        "Dosovitskiy & Brox 2016b": replace(
            paper, method=DosovitskiyConfig(**decoder), out=folder / "dosovitskiy2016b"
        ),
        "flow": replace(paper, method=FlowConfig(size=paper.size), out=folder / "flow"),
    }


def main(n: Natural) -> None:
    """Train the rivals, and measure them with the published inverter."""
    classifier, size = f"fitted:lite0_{n.kind}", 64
    published = open_inverter(f"lite0_{n.kind}")
    assert isinstance(published, LearnedInverter)
    inverters: dict[str, Inverter] = {"paper": published}
    before = sum(published.facts.get(f"pictures_{when}", 0) for when in ("before", "seen"))
    trained = {"paper": before}
    for name in n.learned:
        config = configs(n)[name]
        train(config)
        inverters[name] = open_inverter(str(config.out / "inverter"))
        trained[name] = n.num_images + (before if config.start else 0)
    for method in OPTIMISED:
        inverters[method] = open_inverter(f"{method}:[{classifier}]?size={size}&steps={n.steps}")
    training = tiny_imagenet_lite0.training_images(n.data, n.training)
    cache = f"images=[{training}]&cache={n.out / 'cache'}"
    inverters["nearest"] = open_inverter(f"nearest:[{classifier}]?size={size}&{cache}")
    fewer = dict.fromkeys(OPTIMISED, n.optimised) | {"flow": n.drawn}
    counts = {name: fewer.get(name, n.held_out) for name in inverters}
    out = n.out / n.kind
    out.mkdir(parents=True, exist_ok=True)
    other = "standard" if n.kind == "robust" else "robust"
    judge, features = f"fitted:lite0_{other}", open_classifier(tiny_imagenet_lite0.FEATURES)
    baselines = [name for name in BASELINES if name in inverters]
    compare(out, inverters, f"parquet:{n.data}/val.parquet", counts, trained, n.shown, judge, features, baselines)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Natural, description=__doc__))))
