"""Run controls for the comparison of the twins: small inverters on natural images, and paired contrasts of them.

Run (the same command resumes; 12,800 images take some nine minutes of one core with bf16 instructions):

    python recipes/controls.py --data DIR --control features   # 12 trainings
    python recipes/controls.py --data DIR --control noise      # 4 trainings, twice as long
    python recipes/controls.py --data DIR --control rivals     # 14 trainings
    python recipes/controls.py --data DIR --control depth      # 28 trainings

- `features`: varies the features that the discriminator uses. It trains inverters of both twins against discriminators
  on the features of the robust twin, of the standard twin and of EfficientNet-Lite1, which is related to neither. The
  interaction shows whether the robust twin is ahead because the discriminator uses its features.
- `noise`: feeds noise alone to the first layer, as in the paper. It measures how much two noise vectors change a
  reconstruction, and how often one is a horizontal or a vertical flip of the other. The layout loss compares colours
  that are averaged with their mirror image, so that it penalises vertical flips alone. Flips therefore show what the
  logits leave open only where the paper reports them too, and do not prove it.
- `rivals`: compares Dosovitskiy & Brox 2016a with the paper's loss at equal training images. The paper's loss is
  trained with the paper's discriminator, with its projection divided by sqrt(K), and with the layout loss; 2016a with
  the inverted classifier or EfficientNet-Lite1 as its comparator. Robust twin; `--kinds robust standard` for both.
- `depth`: trains inverters of earlier layers, whose maps enter the generator as maps, and of the outputs of an API.
  `depth_probes.py` has the same curve without inverters.

All inverters are trained by `tiny_imagenet_lite0.py` except for what a row's name states, with two seeds. They are
measured on images of val.parquet that took no part in training: by the inverted classifier, by ST-LPIPS, by
EfficientNet-Lite2, which takes part in no training here, and in bits by pixels, layout and Lite2's features. Writes
CONTROL.csv, a row per inverter and seed, CONTROL.png, a figure of it, and CONTROL-contrasts.csv, paired differences of
means over seeds, into runs/controls/CONTROL. The verdict of a contrast is over images, for these trainings. "over
trainings" is its interval over seeds; if it includes 0, other seeds may reverse the verdict. `DIR` holds Tiny ImageNet
as for `tiny_imagenet_lite0.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any, Literal

import tiny_imagenet_lite0
import torch
import tyro
from _cells import write_figure
from _contrasts import SEED, Contrast, test_contrasts
from depth_probes import LAYERS, write_curves
from recipe_results import keep, write_table
from scenes_methods import folder
from torch import Tensor
from tqdm import tqdm

from unlogit import metrics
from unlogit.analyses import Evidence, identify
from unlogit.classifiers import Classifier, open_classifier
from unlogit.cli import guarded
from unlogit.errors import UnlogitError, unknown
from unlogit.images import open_images
from unlogit.methods import open_inverter
from unlogit.methods.biggan import DiscriminatorConfig
from unlogit.methods.decoder import DOSOVITSKIY_2016A, DecoderConfig
from unlogit.metrics import Unavailable
from unlogit.metrics.identification import over_lineups
from unlogit.metrics.mirroring import flipped, mirroring
from unlogit.metrics.pixel import diversity, layout, layout_cosine, pixel_error
from unlogit.metrics.recognition import encode, part_in_training, recognition
from unlogit.metrics.reencoding import agreement, logit_cosine
from unlogit.representation.layers import Layer
from unlogit.settings import Checked, Count, Seed, Several
from unlogit.statistics import bootstrap
from unlogit.training import TrainConfig, train

LITE1 = "packaged:efficientnet_lite1?size=96"
NETWORKS = {"robust": "fitted:lite0_robust", "standard": "fitted:lite0_standard", "Lite1": LITE1}
"""Whose features the discriminator has, by the name shown; the twins enlarge to 96 px themselves."""
OBSERVER = "st_lpips_alex"
CHUNK = 64
DRAWS = 4
COSINE = "cosine for the evaluating classifier"
DIFFERENCE = "horizontal less vertical flips"
Control = Literal["features", "noise", "rivals", "depth"]
SHOWN: dict[Control, tuple[str, ...]] = {
    "features": ("layout cosine", "ST-LPIPS", COSINE, "bits", "bits beyond the class"),
    "noise": ("diversity", "perceptual diversity", "horizontal flips", "vertical flips", "handedness", "uprightness"),
    "rivals": ("same class", "layout cosine", "pixel error", "ST-LPIPS", COSINE, "bits"),
    "depth": ("layout cosine", COSINE, "bits", "bits beyond the class"),
}
"""Measures in the figure of each control."""
IMAGES: dict[Control, int] = {"features": 12_800, "noise": 25_600, "rivals": 25_600, "depth": 12_800}


@dataclass(frozen=True)
class Controls(Checked):
    """Options: control, images, and length of training."""

    data: Path
    """Folder with Tiny ImageNet as for tiny_imagenet_lite0.py: train-*.parquet and val.parquet."""
    control: Control
    """Control to run: "features", "noise", "rivals" or "depth", as described above."""
    out: Path = Path("runs/controls")
    """Folder for the results, which go to OUT/CONTROL."""
    training: Count = 98_000
    """Number of rows of train-*.parquet to train on; the rows after them are for validation."""
    images: Count | None = None
    """Number of training images seen by each inverter. Default: 12,800, or 25,600 for noise and rivals."""
    held_out: Several = 1_000
    """Number of images of val.parquet on which inverters are measured."""
    drawn: Several = 256
    """Number of these images that are reconstructed with several noise vectors."""
    seeds: tuple[Seed, ...] = (0, 1)
    """Random seeds; each inverter is trained once per seed."""
    kinds: tuple[Literal["robust", "standard"], ...] = ()
    """Twins to invert: "robust", "standard" or both. Default: both; for rivals, the robust one."""
    rows: tuple[str, ...] = ()
    """Names of the rows to train and measure. Default: all."""
    judge: str = "packaged:efficientnet_lite2?size=160"
    """Classifier, as source:name, that checks whether reconstructions are recognised; not used in training."""


def main(controls: Controls) -> None:
    """Train and measure every row that has not been yet, and write both tables."""
    configs = rows_of(controls)
    for name in controls.rows:
        if name not in configs:
            raise unknown("row", name, configs)
    configs = {name: config for name, config in configs.items() if not controls.rows or name in controls.rows}
    home = controls.out / controls.control
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in configs}
    for (name, config), seed in (bar := tqdm(list(product(configs.items(), controls.seeds)), unit="run", disable=None)):
        bar.set_description(f"{name}, seed {seed}")
        run = replace(config, out=home / folder(name) / str(seed), seed=seed)
        settings = (run, controls.held_out, controls.drawn, controls.judge)
        found[name].append(keep(run.out / "measured.json", settings, lambda c=run: train_and_measure(controls, c)))  # type: ignore[misc]
    table = [
        {"row": name, "seed": seed, "training images": f"{configs[name].num_images:,}", **estimates(values)}
        for name, runs in found.items()
        for seed, values in zip(controls.seeds, runs, strict=True)
    ]
    write_table(home / f"{controls.control}.csv", table)
    draw(home / f"{controls.control}.png", controls, found)
    tested = test_contrasts(contrasts(controls.control, list(configs)), found)
    if tested:
        write_table(home / f"{controls.control}-contrasts.csv", tested)


def draw(file: Path, controls: Controls, found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Draw the measures of a control: by depth as curves of the twins, else a dot per training."""
    measures = SHOWN[controls.control]
    if controls.control == "depth":
        rows: dict[tuple[str, str], dict[str, object]] = {}
        for name, runs in found.items():
            kind, _, layer = name.partition(", ")
            rows[kind, layer] = {
                m: _estimate(torch.tensor([run[m] for run in runs]).double().mean(0)) for m in measures if runs[0][m]
            }
        write_curves(file, rows)
    else:
        means = {
            name: {
                seed: {m: values and float(torch.tensor(values).mean()) for m, values in run.items()}
                for seed, run in zip(controls.seeds, runs, strict=True)
            }
            for name, runs in found.items()
        }
        write_figure(file, means, measures)


def rows_of(controls: Controls) -> dict[str, TrainConfig]:
    """Return the trainings of a control, by the name shown."""
    kinds = controls.kinds or (("robust",) if controls.control == "rivals" else ("robust", "standard"))

    def recipe(kind: str, features: str = NETWORKS["robust"]) -> TrainConfig:
        given = tiny_imagenet_lite0.Recipe(
            data=controls.data,
            training=controls.training,
            num_images=controls.images or IMAGES[controls.control],
            classifier=NETWORKS[kind],
            features=features,
        )
        # The judge stays out of validation too, so that nothing is chosen by it.
        return replace(tiny_imagenet_lite0.config(given), cache=controls.out / "cache", recognition=())

    match controls.control:
        case "features":
            return {
                f"{kind}, features of {whose}": recipe(kind, network)
                for kind in kinds
                for whose, network in NETWORKS.items()
            }
        case "noise":
            return {kind: recipe(kind) for kind in kinds}
        case "rivals":
            return {f"{kind}, {name}": config for kind in kinds for name, config in rivals(recipe(kind)).items()}
        case "depth":
            layers = [layer for layer in LAYERS if layer != "softmax"]
            return {f"{kind}, {layer}": of_layer(recipe(kind), layer) for kind in kinds for layer in layers}


def rivals(base: TrainConfig) -> dict[str, TrainConfig]:
    """Return the paper's loss with and without what is added to it, and 2016a, by the name shown."""
    alone = replace(
        base,
        method=replace(base.method, layout_weight=0.0, spectral_weight=0.0, translation=False, r1=0.0),
    )
    paper = DiscriminatorConfig(channels=16, attention=None)
    scaled = replace(paper, scale_projection=True)
    decoder = DecoderConfig(channels=32, hidden=512)  # Of about the generator's cost.
    rival = replace(DOSOVITSKIY_2016A, size=base.size, decoder=decoder, module="blocks.6")
    return {
        "loss alone": replace(alone, method=replace(alone.method, discriminator=paper)),
        "loss alone, scaled projection": replace(alone, method=replace(alone.method, discriminator=scaled)),
        "scaled projection + layout": replace(
            alone,
            method=replace(alone.method, discriminator=scaled, layout_weight=base.method.layout_weight),
        ),
        "projected discriminator": alone,
        "projected discriminator + layout": replace(
            alone, method=replace(alone.method, layout_weight=base.method.layout_weight)
        ),
        "2016a": replace(base, method=rival),
        "2016a, comparator Lite1": replace(base, method=replace(rival, comparator=LITE1)),
    }


def of_layer(base: TrainConfig, layer: str) -> TrainConfig:
    """Return the training for another layer; a spatial map enters the generator as a map."""
    parsed = Layer.parse(layer)
    with torch.no_grad():
        classifier = _open(base.classifier)
        output = classifier.features(classifier.grey(2), [parsed.module])[parsed.module]
    if output.ndim != 4:
        return replace(base, layer=layer)
    channels, height, width = output.shape[1:]
    return replace(
        base,
        layer=layer,
        method=replace(base.method, generator=replace(base.method.generator, map=(channels, height, width))),
    )


def contrasts(control: Control, rows: list[str]) -> list[Contrast]:
    """Return what is tested of a control, as far as its rows are there."""
    found: list[Contrast] = []
    match control:
        case "features":
            twins = {who: (f"robust, features of {who}", f"standard, features of {who}") for who in NETWORKS}
            found = [Contrast(f"robust - standard, features of {who}", {a: 1, b: -1}) for who, (a, b) in twins.items()]
            for one, other in combinations(NETWORKS, 2):
                weights = dict(zip((*twins[one], *twins[other]), (1.0, -1.0, -1.0, 1.0), strict=True))
                found.append(Contrast(f"interaction, features of {one} - {other}", weights))
        case "noise":
            found = [Contrast("robust - standard", {"robust": 1, "standard": -1})]
            found += [Contrast(f"{kind} alone", {kind: 1}, (DIFFERENCE,)) for kind in ("robust", "standard")]
        case "rivals":
            for kind in ("robust", "standard"):
                for changed, base in (
                    ("loss alone, scaled projection", "loss alone"),
                    ("2016a, comparator Lite1", "2016a"),
                ):
                    name, other = f"{kind}, {changed}", f"{kind}, {base}"
                    found.append(Contrast(f"{name} - {base}", {name: 1, other: -1}))
            for name in rows:
                kind, _, method = name.partition(", ")
                if not method.startswith("2016a"):
                    found += [
                        Contrast(f"{name} - {rival}", {name: 1, f"{kind}, {rival}": -1})
                        for rival in ("2016a", "2016a, comparator Lite1")
                    ]
        case "depth":
            layers = [layer for layer in LAYERS if {f"robust, {layer}", f"standard, {layer}"} & set(rows)]
            found = [Contrast(f"robust - standard, {x}", {f"robust, {x}": 1, f"standard, {x}": -1}) for x in layers]
            found += [
                Contrast(f"{kind}, {later} - {earlier}", {f"{kind}, {later}": 1, f"{kind}, {earlier}": -1})
                for kind in ("robust", "standard")
                for earlier, later in pairwise(layers)
            ]
    return [contrast for contrast in found if set(contrast.weights) <= set(rows)]


def estimates(values: Mapping[str, Any]) -> dict[str, object]:
    """Return the mean of each measure with its interval over images, or over line-ups for bits."""
    return {measure: "" if each is None else _estimate(torch.tensor(each).double()) for measure, each in values.items()}


def _estimate(values: Tensor) -> object:
    return over_lineups(values, -torch.inf, torch.inf) if values.ndim == 2 else bootstrap(values, SEED)


def train_and_measure(controls: Controls, config: TrainConfig) -> dict[str, Any]:
    """Train an inverter, and return its values by measure: one per image, or for bits line-ups x images."""
    train(config)
    name = "inverter"
    inverter = open_inverter(str(config.out / name))
    judge = _open(controls.judge)
    if part := part_in_training(judge, inverter.took_part()):
        raise UnlogitError(f"judge '{controls.judge}' takes part in this training as '{part}': give another classifier")
    source = open_images(f"parquet:{controls.data}/val.parquet")
    features = _open(tiny_imagenet_lite0.FEATURES)
    evidence = Evidence(source, {name: inverter}, limit=controls.held_out, features=features, seed=SEED)
    made = evidence.reconstructed(name)
    pairs = list(zip(evidence.originals.chunks(), made.images.chunks(), strict=True))
    centre = torch.cat([layout(a) for a, _ in pairs]).mean(0)
    mean = made.logits.mean(0)
    judged = recognition(encode(judge, (a for a, _ in pairs)), encode(judge, (b for _, b in pairs)))
    bits = identify.proven_bits(identify.Config(), evidence, name)

    def over(metric: Callable[[Tensor, Tensor], Tensor]) -> list[float]:
        values: list[float] = torch.cat([metric(a, b) for a, b in pairs]).tolist()
        return values

    return {
        "same class": agreement(made.logits, made.reencoded).float().tolist(),
        "logit cosine": logit_cosine(made.logits - mean, made.reencoded - mean).tolist(),
        "layout cosine": over(lambda a, b: layout_cosine(a, b, centre)),
        "pixel error": over(pixel_error),
        "ST-LPIPS": _observed(over),
        COSINE: judged["cosine"].tolist(),
        "same class for the evaluating classifier": judged["same_class"].float().tolist(),
        "bits": bits["any"].tolist(),
        "bits beyond the class": bits["class"].tolist() if "class" in bits else None,
        **noises(evidence, name, controls.drawn),
    }


@cache
def _open(spec: str) -> Classifier:
    return open_classifier(spec)


def _observed(over: Callable[[Callable[[Tensor, Tensor], Tensor]], list[float]]) -> list[float] | None:
    """Perceptual distance; None, with a warning, where its weights are not on this machine."""
    try:
        return over(metrics.get(OBSERVER))
    except Unavailable as error:
        print(f"warning: no ST-LPIPS: {error}", file=sys.stderr)
        return None


def noises(evidence: Evidence, name: str, count: int) -> dict[str, list[float] | None]:
    """Return what different noises do to the first `count` images, a mean over pairs of noises; None without noise."""
    draws = evidence.draws(name, torch.arange(min(count, len(evidence))), DRAWS)
    if draws is None:
        measures = ("diversity", "perceptual diversity", "horizontal flips", "vertical flips", DIFFERENCE)
        return dict.fromkeys((*measures, "handedness", "uprightness"))

    def over(metric: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        pairs = [
            torch.cat([metric(x, y) for x, y in zip(a.split(CHUNK), b.split(CHUNK), strict=True)])
            for a, b in combinations(draws, 2)
        ]
        return torch.stack(pairs).mean(0)

    horizontal, vertical = (over(lambda a, b, axis=axis: flipped(a, b, axis)) for axis in ("horizontal", "vertical"))  # type: ignore[misc]
    found = {
        "diversity": diversity(draws),
        "perceptual diversity": over(evidence.embedding.distance),
        "horizontal flips": horizontal,
        "vertical flips": vertical,
        DIFFERENCE: horizontal - vertical,
        "handedness": over(lambda a, b: mirroring(a, b, "horizontal")),
        "uprightness": over(lambda a, b: mirroring(a, b, "vertical")),
    }
    return {measure: values.tolist() for measure, values in found.items()}


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Controls, description=__doc__))))
