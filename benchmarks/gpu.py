"""Twelve minutes of one H100 or H200: the natural-image inverters wider and longer, then the speed of the step.

    python benchmarks/gpu.py --images train.parquet --held-out held-out.parquet --out runs/gpu --biggan-pytorch DIR

The shards are made by `benchmarks/shards.py`, and DIR is a checkout of github.com/ajbrock/BigGAN-PyTorch. Nothing is
downloaded: a checkout with PYTHONPATH=src and the package's dependencies are enough, which on a machine with torch,
torchvision, timm and pyarrow lack tyro with docstring-parser and typeguard alone.

1. For each classifier, the recipe recipes/tiny_imagenet_lite0.py with a wider generator and a larger batch. The images
   are decoded onto the device once, with the representation of each and of its mirror image. Each minute the inverter
   is saved (OUT/NAME/inverter) and a line is added to its curve (OUT/NAME/curve.jsonl).
2. One D and one G step at width 96 and 64 px, ours and BigGAN-PyTorch's (in TF32 and in bf16), plain, as a CUDA graph,
   and compiled: images/s, share of the measured peak of a bf16 product, memory (OUT/step.jsonl).

Every result is written when it is there, so that a run that is cut leaves what it reached. On a CPU, for a trial:

    python benchmarks/gpu.py ... --minutes 1 --channels 4 --batch 8 --step-channels 8 --step-batch 4
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from _peers import Peer, Work, biggan_pytorch
from step import PLANS, Ours
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from unlogit.classifiers import open_classifier
from unlogit.cli import guarded
from unlogit.images import Loader, View, open_images
from unlogit.methods.biggan.trainer import BigGANTrainer
from unlogit.metrics.pixel import layout, layout_cosine
from unlogit.metrics.reencoding import agreement, logit_cosine
from unlogit.representation import Representation
from unlogit.runtime.device import autocast, described, matmul_peak, pick_device, seconds
from unlogit.settings import Checked, Count, Share, Weight
from unlogit.training import TrainConfig
from unlogit.training.validation import write_grid

sys.path.append(str(Path(__file__).parents[1] / "recipes"))
import tiny_imagenet_lite0

CHUNK = 256
SHOWN = 64
AHEAD = 20
"""Steps that may be launched before the device is waited for: the clock must not run ahead of the work."""


@dataclass(frozen=True)
class Options(Checked):
    """What is trained and measured, and for how long."""

    images: Path
    """Parquet shard of training images, which must fit on the device."""
    held_out: Path
    """Parquet shard of images that are not trained on."""
    out: Path = Path("runs/gpu")
    classifiers: tuple[str, ...] = ("fitted:lite0_robust", "fitted:lite0_standard")
    """Classifiers to invert, as source:name; they share the minutes of training."""
    minutes: Weight = 12.0
    """Length of the whole run."""
    training_share: Share = 0.83
    """Share of the minutes that inverters are trained for."""
    channels: Count = 48
    """Width of the inverters' generator; the recipe's is 16."""
    batch: Count = 96
    """Images a step; the recipe's is 16."""
    rate: Weight = 1.0
    """Factor on the recipe's learning rates."""
    save_every: Weight = 60.0
    """Seconds between two saved inverters."""
    validated: Count = 512
    """Held-out images of a curve's line."""
    biggan_pytorch: Path | None = None
    """A checkout, to measure its step too."""
    step_channels: Count = 96
    """Width of the networks whose step is measured."""
    step_batch: Count = 64
    """Images of a measured step."""
    rounds: Count = 20
    """Measured steps of each kind."""
    compile: bool = True
    """Measure torch.compile too; a GPU only."""


class DeviceData:
    """A data set on the device, as `unlogit.methods._data.Feed` gives it: pairs and noise by position alone.

    Args:
        config: the run.
        shard: parquet file of the images.
    """

    def __init__(self, config: TrainConfig, shard: Path, device: torch.device) -> None:
        self.config, self.device = config, device
        source = open_images(f"parquet:{shard}", strict=True)
        view = View(config.size)
        decoded = [(batch.images * 255).round().byte() for batch in Loader(source, view, CHUNK, seed=0).once()]
        self.images = torch.cat(decoded).to(device)
        self.representation = Representation(open_classifier(config.classifier).fused(["logits"]).to(device)).to(device)
        self.representation.fit(self.first(2_048))
        self._raw = torch.stack([torch.cat([self._encode(part, flip) for part in self._parts()]) for flip in (0, 1)])

    def first(self, images: int) -> Iterator[Tensor]:
        """About so many of the images, spread over the data set, float in [0, 1]."""
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.config.seed))
        for indices in order[:images].split(CHUNK):
            yield self.images[indices.to(self.device)].float() / 255

    def pair(self, position: int) -> tuple[Tensor, Tensor]:
        """Images of a batch, half of them mirrored, and their standardised representation."""
        generator = self._generator(position, 0)
        indices = torch.randint(len(self.images), (self.config.batch,), generator=generator, device=self.device)
        flipped = torch.randint(2, (self.config.batch,), generator=generator, device=self.device)
        images = self.images[indices].float() / 255
        images = torch.where(flipped.bool().view(-1, 1, 1, 1), images.flip(-1), images)
        return images, self.representation.standardise(self._raw[flipped, indices].float())

    def noise(self, position: int, which: int, *shape: int) -> Tensor:
        generator = self._generator(position, 1 + which)
        return torch.randn(self.config.batch, *shape, generator=generator, device=self.device)

    def uniform(self, position: int, which: int, *shape: int) -> Tensor:
        generator = self._generator(position, 1 + which)
        return torch.rand(self.config.batch, *shape, generator=generator, device=self.device)

    def _generator(self, position: int, which: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed((self.config.seed << 48) + (position << 4) + which)

    def _parts(self) -> Iterator[Tensor]:
        for part in self.images.split(CHUNK):
            yield part.float() / 255

    def _encode(self, images: Tensor, flip: int) -> Tensor:
        return self.representation.raw(images.flip(-1) if flip else images).half()


def configure(options: Options, classifier: str) -> TrainConfig:
    """Return the recipe with the wider generator and the larger batch."""
    out = options.out / classifier.rpartition(":")[2].replace("/", "-")
    recipe = tiny_imagenet_lite0.Recipe(options.images, out=out, classifier=classifier)
    config = tiny_imagenet_lite0.config(recipe)
    return replace(
        config,
        method=replace(
            config.method,
            generator=replace(config.method.generator, channels=options.channels),
            learning_rate_g=options.rate * config.method.learning_rate_g,
            learning_rate_d=options.rate * config.method.learning_rate_d,
        ),
        batch=options.batch,
    )


def train(options: Options, classifier: str, until: float) -> None:
    """Train the inverter of one classifier until a time of the monotonic clock; saves it and its curve."""
    device = pick_device()
    config = configure(options, classifier)
    config.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    data: Any = DeviceData(config, options.images, device)
    held_out = open_images(f"parquet:{options.held_out}")
    originals = torch.cat([b.images for b in Loader(held_out, View(config.size), 64, seed=0).once(options.validated)])
    method = BigGANTrainer(config, data, device)
    method.begin()
    print(
        f"{classifier}: {len(data.images):,} images on the device after {time.monotonic() - started:.0f} s", flush=True
    )
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=device))
    saved, since, steps = time.monotonic(), 0, 0
    while True:
        for _ in range(AHEAD):
            for name, value in method.step().items():
                sums[name] += value
            steps += 1
            if device.type == "cpu" and time.monotonic() >= until:
                break
        now = _waited(device)
        if now < until and now - saved < options.save_every:
            continue
        line = {
            "images": method.images,
            "seconds": now - started,
            "images_per_second": (method.images - since) / (now - saved),
        }
        line |= {name: float(value) / steps for name, value in sums.items()}
        line |= validate(method, originals, config.out)
        append(config.out / "curve.jsonl", line)
        if not method.finite():
            print(f"{classifier}: weights not finite at {method.images:,} images: stopped", flush=True)
            return
        sums.clear()
        saved, since, steps = _waited(device), method.images, 0
        if saved >= until:
            return


def validate(method: BigGANTrainer, originals: Tensor, out: Path) -> dict[str, float]:
    """Save the inverter and a grid of its reconstructions; returns metrics on held-out images."""
    inverter = method.inverter(
        {"deviations": list(method.config.deviations), "source": method.source, "images_seen": method.images}
    )
    classifier, device = method.data.representation.classifier, method.device
    logits, reencoded, images = [], [], []
    with torch.no_grad():
        for i, part in enumerate(originals.split(64)):
            noise = inverter.sample_noise(len(part), torch.Generator().manual_seed(i))
            raw = method.data.representation.raw(part.to(device))
            reconstructions = inverter.invert(raw, noise)
            logits.append(classifier(part.to(device)).cpu())
            reencoded.append(classifier(reconstructions).cpu())
            images.append(reconstructions.cpu())
    a, b, made = torch.cat(logits), torch.cat(reencoded), torch.cat(images)
    inverter.save(out / "inverter")
    write_grid(originals[:SHOWN], made[:SHOWN], out / f"{method.images:09d}.png")
    metrics = {
        "agreement": agreement(a, b),
        "agreement5": agreement(a, b, k=min(5, a.shape[1])),
        "logit_cosine": logit_cosine(a - a.mean(0), b - a.mean(0)),
        "layout_cosine": layout_cosine(originals, made, layout(originals).mean(0)),
    }
    return {f"val/{name}": float(values.float().mean()) for name, values in metrics.items()}


def measure(options: Options) -> None:
    """Measure one D and one G step, ours and BigGAN-PyTorch's, one way after the other."""
    device = pick_device()
    on_gpu = device.type == "cuda"
    work = Work(channels=options.step_channels, batch=options.step_batch)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    peak = matmul_peak(torch.bfloat16, 8_192 if on_gpu else 256)
    print(f"{described()}; {peak / 1e12:.2f} TFLOP/s in a bf16 product; {work}\n", flush=True)
    print(
        "| step | precision | GFLOP per image | ms | images/s | share of bf16 peak | GB |\n" + "|---|---|" + "---:|" * 5
    )
    precision = "bf16" if on_gpu else "fp32"
    ways: list[tuple[str, str, Callable[[], Callable[[], object]]]] = [
        ("ours", precision, lambda: _ours(work, precision).step)
    ]
    if options.biggan_pytorch is not None:
        folder = options.biggan_pytorch.resolve()
        ways.append(("BigGAN-PyTorch", "tf32" if on_gpu else "fp32", lambda: _peer(folder, work, device, "fp32")))
        ways.append(("BigGAN-PyTorch", "bf16", lambda: _peer(folder, work, device, "bf16")))
    if on_gpu:
        ways.insert(1, ("ours, CUDA graph", precision, lambda: graphed(_ours(work, precision))))
        if options.compile:
            ways.append(("ours, compiled", precision, lambda: compiled(_ours(work, precision)).step))
            ways.append(("ours, compiled, CUDA graph", precision, lambda: graphed(compiled(_ours(work, precision)))))
    flop: dict[str, float] = {}
    for name, kind, make in ways:
        try:
            row = _row(name, kind, make, work, options, peak, flop)
        except Exception as error:  # One way that fails must not cost the others.
            row = {"step": name, "precision": kind, "error": f"{type(error).__name__}: {error}"}
            print(
                f"| {name} | {kind} | failed: {str(error).splitlines()[0][:80] if str(error) else error!r} |||||",
                flush=True,
            )
        append(options.out / "step.jsonl", row, quiet=True)


def _row(
    name: str, kind: str, make: Callable[[], Callable[[], object]], work: Work, options: Options, peak: float,
    flop: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step = make()
    whose = name.partition(",")[0]
    if whose not in flop:  # A graph and compiled code cannot be counted, and do the same work.
        with FlopCounterMode(display=False) as counter:
            step()
        flop[whose] = counter.get_total_flops()
    for _ in range(3):
        step()
    taken = median(seconds(step) for _ in range(options.rounds))
    memory = torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
    share = flop[whose] / taken / peak
    print(
        f"| {name} | {kind} | {flop[whose] / work.batch / 1e9:.1f} | {1e3 * taken:.1f} | {work.batch / taken:,.0f} "
        f"| {share:.0%} | {memory:.1f} |",
        flush=True,
    )
    row = {"step": name, "precision": kind, "flop": flop[whose], "seconds": taken}
    row |= {"images_per_second": work.batch / taken, "share_of_peak": share, "device": described()}
    return row | ({"memory_gb": memory} if cuda else {})


def _ours(work: Work, precision: str) -> Ours:
    return Ours(work, precision, PLANS["BigGAN-PyTorch"])


def _peer(folder: Path, work: Work, device: torch.device, precision: str) -> Callable[[], object]:
    with device:
        peer: Peer = biggan_pytorch(folder, work)

    def step() -> None:
        with device, autocast(device, precision):
            peer.step()

    return step


def compiled(ours: Ours) -> Ours:
    """Compile both networks of a step."""
    ours.method.generator.compile()
    discriminator: Any = ours.method.discriminator
    discriminator.score = torch.compile(discriminator.score)
    return ours


def graphed(ours: Ours) -> Callable[[], object]:
    """Capture the whole step, both optimisers included, as one CUDA graph; returns its replay."""
    method = ours.method
    for optimiser in (method.optimiser_g, method.optimiser_d):
        for group in optimiser.param_groups:
            group["capturable"] = True
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            ours.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ours.step()
    return graph.replay


def append(file: Path, line: dict[str, Any], *, quiet: bool = False) -> None:
    """Add a line to a file, at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    if not quiet:
        print(", ".join(f"{k} {v:,.3f}" if isinstance(v, float) else f"{k} {v:,}" for k, v in line.items()), flush=True)


def _waited(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def main(options: Options) -> None:
    """Train, then measure."""
    started = time.monotonic()
    print(described(), flush=True)
    each = 60 * options.minutes * options.training_share / max(1, len(options.classifiers))
    for i, classifier in enumerate(options.classifiers):
        train(options, classifier, started + (i + 1) * each)
    measure(options)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Options, description=__doc__))))
