"""Seconds of one training step at 64 px, ours against other BigGANs and against ours without each optimisation.

    python benchmarks/step.py --biggan-pytorch DIR --ic-gan DIR --studiogan DIR

Each DIR is a checkout of github.com/ajbrock/BigGAN-PyTorch, github.com/facebookresearch/ic_gan and
github.com/POSTECH-CVLab/PyTorch-StudioGAN; one that is not given is left out. Everybody does one D and one G step on
the same batch with the peers' own channel plan, in rounds one after the other; ratios are medians of the rounds' own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import tyro
from _machine import interleaved, machine, matmul_peak, ratio
from _peers import PEERS, Peer, Work
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig, discriminator, generator, layers
from unlogit.methods.biggan import config as plans
from unlogit.methods.biggan.generator import folded
from unlogit.methods.biggan.trainer import BigGANTrainer
from unlogit.runtime.device import autocast, pick_device
from unlogit.training import TrainConfig

PLANS = {
    "BigGAN-PyTorch": ((16, 16, 8, 4, 2), (1, 2, 4, 8, 16)),
    "IC-GAN": ((16, 16, 8, 4, 2), (1, 2, 4, 8, 16)),
    "StudioGAN": ((16, 8, 4, 2, 1), (1, 2, 4, 8, 16)),
}
"""Channels of G from 4x4 up, and of D from full resolution down, in units of the width."""


@dataclass(frozen=True)
class Options:
    """What is measured."""

    biggan_pytorch: Path | None = None
    """Its checkout."""
    ic_gan: Path | None = None
    """Its checkout."""
    studiogan: Path | None = None
    """Its checkout."""
    channels: int = 32
    batch: int = 16
    rounds: int = 7
    threads: int = 1
    bf16: bool = False
    """Ours under bf16 autocast, the peers as they ship and under it; else everybody in fp32."""
    compile: bool = False
    """Ours with torch.compile too, whose first call takes minutes."""


class Ours:
    """Our step, on one batch that stays the same."""

    def __init__(self, work: Work, precision: str, plan: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        self.device = pick_device()
        method = BigGANConfig(
            d_steps=1,
            generator=GeneratorConfig(
                size=work.size, channels=work.channels, noise=work.noise, embedding=work.embedding, hidden=None
            ),
            discriminator=DiscriminatorConfig(channels=work.channels),
        )
        config = TrainConfig(
            images="",
            held_out="",
            classifier="",
            out=Path("unused"),
            batch=work.batch,
            method=method,
            precision=precision,  # type: ignore[arg-type]
        )
        pair = [torch.rand(work.batch, 3, work.size, work.size), torch.randn(work.batch, work.condition)]
        images, representation = (t.to(self.device) for t in pair)
        noise = torch.randn(work.batch, work.noise).to(self.device)
        feed: Any = SimpleNamespace(
            representation=SimpleNamespace(dim=work.condition),
            pair=lambda _position: (images, representation),
            noise=lambda _position, _which, _length: noise,
        )
        with patch.dict(plans.WIDTHS, {work.size: plan[0]}), patch.dict(discriminator.WIDTHS, {work.size: plan[1]}):
            self.method = BigGANTrainer(config, feed, self.device)
            self.folded = folded(self.method.generator)
        self.representation, self.noise = representation, noise
        self.step = self.method.step

    def generate(self) -> Tensor:
        """Reconstructions of a batch, with the weights as an inverter has them."""
        with torch.inference_mode(), autocast(self.device, self.method.config.precision):
            made: Tensor = self.folded(self.representation, self.noise)
        return made

    def peer(self) -> Peer:
        method = self.method
        counts = [sum(p.numel() for p in m.parameters()) for m in (method.generator, method.discriminator)]
        return Peer(self.step, self.generate, (counts[0], counts[1]))


# Ours without one of its rewrites each.


def _plain_up(x: Tensor, layer: nn.Module) -> Tensor:
    return layer(F.interpolate(x, scale_factor=2))


def _plain_down(x: Tensor, layer: nn.Module) -> Tensor:
    return F.avg_pool2d(layer(x), 2)


def _plain_attention(self: layers.Attention, x: Tensor) -> Tensor:
    n, _, h, w = x.shape
    query, key, value = self.query(x), F.max_pool2d(self.key(x), 2), F.max_pool2d(self.value(x), 2)
    weights = torch.softmax(query.flatten(2).transpose(1, 2) @ key.flatten(2), -1)
    attended = value.flatten(2) @ weights.transpose(1, 2)
    return x + self.gate * self.out(attended.view(n, -1, h, w))


def _plain_sum(kernels: Tensor, shifts: Sequence[Sequence[int]]) -> Tensor:
    w = kernels.unflatten(1, (3, 3)).permute(0, 3, 1, 2)
    w = F.pad(w if shifts[0][0] else w.flip(2, 3), (1, 1, 1, 1))
    return w[:, :, :-1, :-1] + w[:, :, 1:, :-1] + w[:, :, :-1, 1:] + w[:, :, 1:, 1:]


def _plain_norm(self: layers.SpectralNorm, weight: Tensor) -> Tensor:
    """As torch's own parametrization has it."""
    with torch.autocast(weight.device.type, enabled=False):
        matrix = weight.movedim(1, -1).flatten(1)
        with torch.no_grad():
            F.normalize(torch.mv(matrix, self._v), dim=0, eps=self.eps, out=self._u)
            F.normalize(torch.mv(matrix.mT, self._u), dim=0, eps=self.eps, out=self._v)
        return weight / torch.vdot(self._u.clone(), torch.mv(matrix, self._v.clone()))


def _plain_gain(self: layers.Normalise, x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    normalised = F.batch_norm(x, None, None, training=True, eps=self.eps)
    if gain is None or bias is None:
        return normalised
    return normalised * gain.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


@contextlib.contextmanager
def _contiguous(ours: Ours) -> Iterator[None]:
    """Networks in NCHW: what follows a parameter's layout follows it too."""
    networks = (ours.method.generator, ours.method.discriminator)
    for network in networks:
        network.to(memory_format=torch.contiguous_format)
    with patch.object(torch, "channels_last", torch.contiguous_format):
        yield
    for network in networks:
        network.to(memory_format=torch.channels_last)


@contextlib.contextmanager
def _plain_adam(ours: Ours) -> Iterator[None]:
    groups = [g for o in (ours.method.optimiser_g, ours.method.optimiser_d) for g in o.param_groups]
    for group in groups:
        group["fused"] = None
    yield
    for group in groups:
        group["fused"] = True


WITHOUT: dict[str, Callable[[Ours], Any]] = {
    "up-sampling folded into the convolution": lambda _: patch.object(generator, "upsampled_conv", _plain_up),
    "pooling folded into the convolution": lambda _: patch.object(discriminator, "conv_downsampled", _plain_down),
    "a folded kernel by one product": lambda _: patch.object(layers, "_shifted_sum", _plain_sum),
    "spectral norm's gradient in closed form": lambda _: patch.object(layers.SpectralNorm, "forward", _plain_norm),
    "images' gains and biases in the norm": lambda _: patch.object(layers, "_large", lambda _: False),
    "the last norm's gain and bias in it": lambda _: patch.object(layers.Normalise, "forward", _plain_gain),
    "fused attention": lambda _: patch.object(layers.Attention, "forward", _plain_attention),
    "channels last": _contiguous,
    "fused Adam": _plain_adam,
    "bf16 autocast": lambda ours: patch.object(ours.method, "config", replace(ours.method.config, precision="fp32")),
}


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    work = Work(channels=options.channels, batch=options.batch)
    precision = "bf16" if options.bf16 else "fp32"
    peaks = {"fp32": matmul_peak(torch.float32), "bf16": matmul_peak(torch.bfloat16)}
    print(f"{machine()}; matmul {', '.join(f'{peak / 1e9:.0f} GFLOP/s in {p}' for p, peak in peaks.items())}")
    print(f"{work}; {options.rounds} rounds\n")
    head = (
        "| against | what | precision | parameters G / D | GFLOP | s | share of peak | images/s | ours is faster by |"
    )
    print(head + "\n|" + "---|" * 9)
    for name, open_peer in PEERS.items():
        folder = getattr(options, name.lower().replace("-", "_"))
        if folder is None:
            continue
        peer = open_peer(folder.resolve(), work)
        ours = Ours(work, precision, PLANS[name]).peer()
        for what in ("step", "generate"):
            compare(name, what, ours, peer, work, peaks, options)
    ablate(work, precision, options)


def compare(
    name: str, what: str, ours: Peer, peer: Peer, work: Work, peaks: dict[str, float], options: Options
) -> None:
    """The peer and ours at the same work; under bf16, the peer as it ships too."""
    theirs = getattr(peer, what)

    def cast() -> None:
        with torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16):
            theirs()

    rows = {("theirs", "fp32"): (theirs, peer)}
    if options.bf16:
        rows["theirs", "bf16"] = (cast, peer)
    rows["ours", "bf16" if options.bf16 else "fp32"] = (getattr(ours, what), ours)
    times = interleaved({" ".join(key): run for key, (run, _) in rows.items()}, options.rounds)
    *_, last = times.values()
    for (whose, precision), (run, side) in rows.items():
        with FlopCounterMode(display=False) as counter:
            run()
        flop, taken = counter.get_total_flops(), times[f"{whose} {precision}"]
        s, sizes = median(taken), " / ".join(f"{n / 1e6:.2f}M" for n in side.parameters)
        faster = f"**{ratio(last, taken):.2f}**" if whose == "theirs" else ""
        print(
            f"| {name} | {what}, {whose} | {precision} | {sizes} | {flop / 1e9:.0f} | {s:.3f} "
            f"| {flop / s / peaks[precision]:.0%} | {work.batch / s:.1f} | {faster} |",
            flush=True,
        )


def ablate(work: Work, precision: str, options: Options) -> None:
    """What each rewrite gives, the others left on."""
    ours = Ours(replace(work), precision, PLANS["BigGAN-PyTorch"])

    def without(name: str) -> Callable[[], object]:
        def run() -> None:
            with WITHOUT[name](ours):
                ours.step()

        return run

    runs: dict[str, Callable[[], object]] = {"nothing": ours.step} | {
        name: without(name) for name in WITHOUT if options.bf16 or name != "bf16 autocast"
    }
    if options.compile:
        compiled = Ours(replace(work), precision, PLANS["BigGAN-PyTorch"])
        compiled.method.generator.compile()
        compiled.method.discriminator.score = torch.compile(compiled.method.discriminator.score)  # type: ignore[method-assign]
        runs["nothing, and torch.compile on top"] = compiled.step
    times = interleaved(runs, options.rounds)
    print("\n| our step with everything but | s | slower by |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {median(taken):.3f} | {1 / ratio(taken, times['nothing']):.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
