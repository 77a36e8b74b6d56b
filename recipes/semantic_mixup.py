"""Test decoded interpolated logits as a semantic MixUp: the paper's open question, with controls.

Run (the same command resumes, cell by cell; without options, on scenes):

    python recipes/semantic_mixup.py --images parquet:DIR/train.parquet --held-out parquet:DIR/test.parquet --flip

For each seed, `--labelled` training images are drawn. The teacher (the built-in classifier), the inverter of its logits
and the students (built-in classifiers with random weights) train on these images only. Half of each batch are real
images with their labels. The arms differ in the other half:

- real images: as in the first half.
- pixel MixUp (Zhang et al. 2018): pixels and labels of two images mixed, the share uniform in [0, 1].
- decoded end points: reconstructions, with the teacher's probabilities as labels.
- decoded mixes: reconstructions of mixed logits, with the softmax of the mixed logits as labels. This is the paper's
  suggestion.
- teacher labels: real images with the teacher's probabilities as labels, which separates mixing from distillation.

The recipe measures accuracy, expected calibration error (15 bins), and accuracy under PGD-20 with restarts, on held-out
images. Writes arms.csv, arms.png and contrasts.csv into runs/semantic_mixup. Intervals are Student's over seeds;
contrasts are paired by seed. A difference in accuracy counts as equivalent to none if its interval lies within plus or
minus `--margin`.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import tyro
from _cells import Cell, arm_rows, contrast_rows, robust_accuracy, run_cells, write_figure
from _neutral_inverter import inverter_config
from depth_probes import encode, read
from PIL import Image
from recipe_results import write_table
from scenes_methods import folder
from torch import Tensor, nn
from torch.nn import functional as F

from unlogit.classifier_training import FitConfig, fit
from unlogit.classifier_training.fitting import Fitting
from unlogit.classifier_training.objectives import Objective, Settings
from unlogit.classifiers import Classifier, open_classifier
from unlogit.classifiers._starts import new_small
from unlogit.classifiers.small import SmallConfig
from unlogit.cli import guarded
from unlogit.errors import unknown
from unlogit.files import marked, replacing
from unlogit.images import View, open_images
from unlogit.methods import Inverter, open_inverter
from unlogit.runtime.checkpoint import Checkpoints
from unlogit.runtime.device import pick_device
from unlogit.runtime.progress import Metrics
from unlogit.settings import Checked, Count, Seed, Several, Share, Width
from unlogit.training import TrainConfig, train

RADII = tuple(k / 255 for k in (1, 2))
BINS = 15
BASELINE = "real images"
Half = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(pixels N x 3 x S x S, labels N x K, logits of the teacher N x K, shares in [0, 1], N) to images and labels alike."""


@dataclass(frozen=True)
class MixUp(Checked):
    """Options: images, sizes and arms."""

    images: str = "scenes:"
    """Labelled training images as source:name."""
    held_out: str = "scenes:test"
    """Labelled held-out images for all measurements, as source:name; never used for training."""
    out: Path = Path("runs/semantic_mixup")
    """Folder for the results: arms.csv, arms.png and contrasts.csv."""
    labelled: Several = 2_000
    """Number of training images, which are drawn anew for each seed."""
    seeds: tuple[Seed, ...] = (0, 1, 2, 3, 4)
    """Random seeds; teacher, inverter and every arm are trained once per seed."""
    arms: tuple[str, ...] = (BASELINE, "pixel MixUp", "decoded end points", "decoded mixes", "teacher labels")
    """Arms to train and measure, by name."""
    num_teacher_images: Count = 64_000
    """Number of training images seen by the teacher, over all epochs."""
    num_inverter_images: Count = 50_000
    """Number of training images seen by the inverter, over all epochs."""
    num_student_images: Count = 64_000
    """Number of training images seen by each student, over all epochs."""
    widths: tuple[Width, ...] = (24, 48, 96)
    """Channels of each stage of teacher and students."""
    channels: Count = 12
    """Width unit of the generator."""
    flip: bool = False
    """Mirror half of the training images. Do not use it for scenes, where mirroring is a factor."""
    size: Count = 32
    """Side of the images in pixels."""
    measured: Several = 2_000
    """Number of held-out images for accuracy and calibration."""
    attacked: Several = 500
    """Number of these images that are attacked."""
    restarts: Count = 3
    """Number of random starts per attack."""
    margin: Share = 0.02
    """Equivalence margin: a difference in accuracy up to this share, 0 to 1, counts as none."""


def main(m: MixUp) -> None:
    """Train and measure what has not been yet, and write both tables."""
    for arm in m.arms:
        if arm not in HALVES:
            raise unknown("arm", arm, HALVES)
    results = run_cells(m.arms, m.seeds, lambda arm, seed: cell(m, arm, seed))
    accuracies = ["accuracy", *(f"PGD-20 at {round(radius * 255)}/255" for radius in RADII)]
    measures = [*accuracies, "calibration error"]
    write_table(m.out / "arms.csv", arm_rows(results, measures))
    write_figure(m.out / "arms.png", results, measures)
    pairs = [(arm, BASELINE) for arm in m.arms if arm != BASELINE]
    # What mixing adds to decoding, and to the teacher's labels.
    pairs += [("decoded mixes", arm) for arm in ("decoded end points", "teacher labels", "pixel MixUp")]
    if rows := contrast_rows(results, pairs, measures, dict.fromkeys(accuracies, m.margin)):
        write_table(m.out / "contrasts.csv", rows)


def cell(m: MixUp, arm: str, seed: int) -> Cell:
    """Return the cell of one arm and seed."""
    home = m.out / str(seed) / folder(arm)

    def compute() -> dict[str, Any]:
        student = train_student(m, arm, seed, home)
        images, labels = read(m.held_out, View(m.size), m.measured)
        probabilities = encode(student, "logits", images).softmax(1)
        few = slice(m.attacked)
        robust = robust_accuracy(student, images[few], labels[few], RADII, m.restarts, seed)
        return {
            "accuracy": float((probabilities.argmax(1) == labels).float().mean()),
            "calibration error": calibration_error(probabilities, labels),
            **{f"PGD-20 at {round(radius * 255)}/255": share for radius, share in robust.items()},
        }

    settings = (teacher_config(m, seed), student_config(m, seed, home), m.labelled, m.num_inverter_images, m.channels)
    return Cell(home, (*settings, m.measured, m.attacked, m.restarts), compute)


def train_student(m: MixUp, arm: str, seed: int, home: Path) -> Classifier:
    """Train one student, after its teacher and inverter, and return it in evaluation mode."""
    draw_images(m, seed)
    fit(teacher_config(m, seed))
    teacher = open_classifier(teacher_config(m, seed).spec)
    inverter = None
    if arm.startswith("decoded"):
        train(inverter_of(m, seed))
        inverter = open_inverter(str(inverter_of(m, seed).out / "inverter"))
    config = student_config(m, seed, home)
    source = open_images(config.images)
    shape = SmallConfig(len(source.class_names), m.size, m.widths)
    student = new_small(shape, source.class_names, config.spec, seed + 1)
    fitting = Fitting(config, student, source, None, pick_device())
    fitting.objective = objective(arm, teacher, inverter)
    checkpoints = Checkpoints(home / "checkpoints")
    if saved := checkpoints.load():
        fitting.load_state_dict(saved)
    fitting.run(checkpoints, Metrics(home / "metrics.jsonl"), {})
    return fitting.result()


def objective(arm: str, teacher: Classifier, inverter: Inverter | None) -> Objective:
    """Return the students' loss: cross-entropy of real images, and of the arm's images with its labels."""

    def loss(model: nn.Module, pixels: Tensor, labels: Tensor, noise: Tensor, _settings: Settings) -> Tensor:
        targets = F.one_hot(labels, len(teacher.class_names)).float()
        half = len(pixels) // 2
        with torch.no_grad():
            logits = teacher(pixels[half:]).float()
            shares = torch.special.ndtr(noise[half:, 0, 0, 0])  # Uniform, from the loop's own normal noise.
            others, soft = HALVES[arm](inverter)(pixels[half:], targets[half:], logits, shares)
        batch = torch.cat([pixels[:half], others.to(pixels)])
        return F.cross_entropy(model(batch).float(), torch.cat([targets[:half], soft]))

    return loss


def _real(_inverter: Inverter | None) -> Half:
    return lambda pixels, targets, _logits, _shares: (pixels, targets)


def _pixel_mixup(_inverter: Inverter | None) -> Half:
    return lambda pixels, targets, _logits, shares: (mix(pixels, shares), mix(targets, shares))


def _end_points(inverter: Inverter | None) -> Half:
    assert inverter is not None
    return lambda _pixels, _targets, logits, shares: (decode(inverter, logits, shares), logits.softmax(1))


def _decoded_mixes(inverter: Inverter | None) -> Half:
    assert inverter is not None

    def half(_pixels: Tensor, _targets: Tensor, logits: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        mixed = mix(logits, shares)
        return decode(inverter, mixed, shares), mixed.softmax(1)

    return half


def _teacher_labels(_inverter: Inverter | None) -> Half:
    return lambda pixels, _targets, logits, _shares: (pixels, logits.softmax(1))


HALVES: dict[str, Callable[[Inverter | None], Half]] = {
    BASELINE: _real,
    "pixel MixUp": _pixel_mixup,
    "decoded end points": _end_points,
    "decoded mixes": _decoded_mixes,
    "teacher labels": _teacher_labels,
}


def decode(inverter: Inverter, logits: Tensor, shares: Tensor) -> Tensor:
    """Return reconstructions of logits, N x K, whose noise is a function of the shares of the batch."""
    # From the loop's own random numbers, so that a resumed training is the uninterrupted one.
    generator = torch.Generator().manual_seed(int(shares[0].double() * 2**40))
    return inverter.invert(logits, inverter.sample_noise(len(logits), generator))


def mix(values: Tensor, shares: Tensor) -> Tensor:
    """Return each of N values mixed with the next one, of which `shares`, N, says how much stays."""
    kept = shares.to(values).view(-1, *[1] * (values.ndim - 1))
    return kept * values + (1 - kept) * values.roll(1, 0)


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error (Guo et al. 2017) over equally wide bins of confidence, in [0, 1].

    Args:
        probabilities: N x K.
        labels: int64, N.
    """
    confidence, guess = probabilities.double().max(1)
    position = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    excess = confidence - (guess == labels).double()
    return float(torch.zeros(BINS, dtype=torch.double).index_add_(0, position, excess).abs().sum() / len(labels))


def draw_images(m: MixUp, seed: int) -> None:
    """Write the training images of a seed as a parquet file, where it is not there yet."""
    file = drawn_file(m, seed)
    if file.is_file():
        return
    source = open_images(m.images)
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))[: m.labelled].tolist()
    rows = []
    for index, image in zip(order, source.read_good(order), strict=True):
        if image is not None:
            stream = io.BytesIO()
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "PNG")
            rows.append({"image": {"bytes": stream.getvalue(), "path": None}, "label": int(source.labels[index])})
    names = {"info": {"features": {"label": {"names": list(source.class_names), "_type": "ClassLabel"}}}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(names)})
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, marked(b"PAR1")) as fresh:
        pq.write_table(table, fresh)


def drawn_file(m: MixUp, seed: int) -> Path:
    """Return where the training images of a seed are."""
    return m.out / str(seed) / f"images-{m.labelled}.parquet"


def teacher_config(m: MixUp, seed: int) -> FitConfig:
    """Return the training of a teacher."""
    return _fit_config(m, drawn_file(m, seed), m.out / str(seed) / "teacher", m.num_teacher_images, seed)


def student_config(m: MixUp, seed: int, home: Path) -> FitConfig:
    """Return the training of a student; it has other random weights than its teacher, and another order of images."""
    return _fit_config(m, drawn_file(m, seed), home, m.num_student_images, seed + 1)


def _fit_config(m: MixUp, drawn: Path, out: Path, num_images: int, seed: int) -> FitConfig:
    return FitConfig(
        out=out,
        images=f"parquet:{drawn}",
        test_images=m.held_out,
        num_images=num_images,
        batch=64,
        widths=m.widths,
        flip=m.flip,
        size=m.size,
        ema_half_life=2_000,
        num_test_images=m.measured,
        num_attacked_images=2,
        seed=seed,
    )


def inverter_of(m: MixUp, seed: int) -> TrainConfig:
    """Return the training of the inverter of a teacher's logits."""
    home = m.out / str(seed)
    return inverter_config(
        f"parquet:{drawn_file(m, seed)}",
        m.held_out,
        teacher_config(m, seed).spec,
        home / "inverter-run",
        m.out / "cache",
        size=m.size,
        channels=m.channels,
        num_images=m.num_inverter_images,
        seed=seed,
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(MixUp, description=__doc__))))
