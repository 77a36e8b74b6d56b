"""Add a trained classifier or inverter to those that come with unlogit, without local paths.

Both are saved in half precision; the discriminator of an inverter is saved with one byte per weight.

    python recipes/publish.py runs/twins/fgsm --name lite0_robust --images "Tiny ImageNet (its terms)" \
        --recipe "recipes/tiny_imagenet_twins.py --objective fgsm"
    python recipes/publish.py runs/pair/robust/inverter --name lite0_robust --classifier fitted:lite0_robust \
        --images "Tiny ImageNet (its terms)" --recipe "recipes/tiny_imagenet_lite0.py"

fitted:NAME then opens the classifier, and NAME the inverter.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from safetensors.torch import load_file

from unlogit.classifiers import fitted
from unlogit.cli import guarded
from unlogit.errors import UnlogitError
from unlogit.files import holding, replacing, to_json
from unlogit.former import current
from unlogit.methods import WEIGHTS as INVERTERS
from unlogit.methods import LearnedInverter, open_inverter
from unlogit.saved import CONFIG, WEIGHTS, write_tensors
from unlogit.settings import Checked
from unlogit.specs import Spec

CARD = "README.md"
PUBLISHED = holding(CONFIG, ("reached", "fit", "class_names"), lambda _: (WEIGHTS, CARD))
"""Recognises a published classifier, which may be replaced."""
LARGEST = 20e6
"""Bytes of a folder, nearly all of them weights: every version stays in the history that users clone."""


@dataclass(frozen=True)
class Publish(Checked):
    """Options: what is published, and what its card states about its origin."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of a trained classifier or of an inverter."""
    name: str
    """Name under which it is published."""
    images: str
    """Description of the training images and their terms of use."""
    recipe: str
    """Command that trained it, without local paths."""
    classifier: str | None = None
    """Classifier of an inverter, as a source:name that opens anywhere. Default: the one in its configuration."""
    start: str | None = None
    """Description of the weights from which the training of the inverter started. Default: none."""
    bits: int = 16
    """Number of bits per weight of an inverter; fewer bits make a smaller file."""
    into: Path | None = None
    """Folder of published weights. Default: the package's own."""


def main(publish: Publish) -> None:
    """Write the folder and print its size."""
    try:
        config = json.loads((publish.folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise UnlogitError(
            f"'{publish.folder}': no readable {CONFIG}: give a trained classifier or inverter"
        ) from error
    target = _classifier(publish, config) if "reached" in config else _inverter(publish)
    size = sum(p.stat().st_size for p in target.iterdir())
    print(f"{target}: {size / 1e6:.1f} MB")
    if size > LARGEST:
        raise UnlogitError(f"'{target}' takes {size / 1e6:.1f} MB: must be at most {LARGEST / 1e6:.0f}")


def _classifier(publish: Publish, config: dict[str, Any]) -> Path:
    fit = current(config["fit"])
    kept = ("objective", "epsilon", "num_images", "batch", "learning_rate_rest", "start", "size", "seed")
    config["fit"] = {"recipe": publish.recipe, "training_images": publish.images} | {k: fit[k] for k in kept}
    target = (publish.into or fitted.OURS) / publish.name
    weights = load_file(publish.folder / WEIGHTS)
    with replacing(target, PUBLISHED, folder=True) as fresh:
        write_tensors({k: v.half() if v.is_floating_point() else v for k, v in weights.items()}, fresh / WEIGHTS)
        (fresh / CONFIG).write_text(to_json(config, indent=2) + "\n")
        (fresh / CARD).write_text(_card(publish.name, config))
    return target


def _card(name: str, config: dict[str, Any]) -> str:
    rows = "".join(
        f"| {figure} | {got['accuracy']:.1%} | {got['low']:.1%} to {got['high']:.1%} | {got['n']:,} |\n"
        for figure, got in config["reached"].items()
    )
    facts = "".join(f"- {key.replace('_', ' ')}: {value}\n" for key, value in config["fit"].items())
    return (
        f"# {name}\n\nA classifier fitted by unlogit, opened as `fitted:{name}`.\n\n{facts}\n"
        f"| accuracy on held-out images | value | 95 % interval | n |\n| --- | --- | --- | --- |\n{rows}"
    )


def _inverter(publish: Publish) -> Path:
    inverter = open_inverter(str(publish.folder))
    assert isinstance(inverter, LearnedInverter)
    inverter.name = publish.name
    facts = inverter.facts
    asked = str(facts["num_validation_images"]).partition(" of ")[0]
    facts |= {
        "training_images": publish.images,
        "recipe": publish.recipe,
        "num_validation_images": f"{asked} held-out images",
    }
    classifier = inverter.representation.classifier
    if publish.classifier is not None:
        renamed = {classifier.spec: publish.classifier}
        classifier.spec = publish.classifier
    else:
        renamed = {}
    if "took_part" in facts:
        facts["took_part"] = {renamed.get(s, _without_folders(s)): known for s, known in facts["took_part"].items()}
    if publish.start is not None:
        facts["start"] = publish.start
    if "earlier_training" in facts:  # Fingerprints stay; what is named by a path means nothing elsewhere.
        facts["earlier_training"] = [known for known in facts["earlier_training"] if "/" not in known]
    target = (publish.into or INVERTERS) / publish.name
    inverter.save(target, publish.bits)
    return target


def _without_folders(spec: str) -> str:
    """Return a spec with the last part of each absolute path alone."""
    if ":" not in spec:
        return spec
    given = Spec.parse(spec)
    options = tuple((key, _without_folder(value)) for key, value in given.options)
    return str(replace(given, name=_without_folder(given.name), options=options))


def _without_folder(text: str) -> str:
    return Path(text).name if text.startswith("/") else text


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Publish, description=__doc__))))
