"""Other people's BigGANs, from checkouts kept outside this project: their networks, stepped as their own code does.

Each is built at the same size, width, noise and length of condition; class-conditional ones get a thousand classes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BETAS = (0.0, 0.999)


@dataclass(frozen=True)
class Work:
    """What everybody does in one step: D once, G once, at this size."""

    channels: int = 32
    batch: int = 16
    size: int = 64
    noise: int = 120
    condition: int = 1_000
    embedding: int = 128


@dataclass(frozen=True)
class Peer:
    """A step, the generator alone, and how many parameters both networks have."""

    step: Callable[[], object]
    generate: Callable[[], object]
    parameters: tuple[int, int]


@contextlib.contextmanager
def _imports(folder: Path) -> Iterator[None]:
    """Modules of a checkout, forgotten afterwards, since the checkouts use the same names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        with Path(os.devnull).open("w") as silence, contextlib.redirect_stdout(silence):
            yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith(str(folder)):
                del sys.modules[name]


def _toggle(module: nn.Module, on: bool) -> None:
    for p in module.parameters():
        p.requires_grad_(on)


def _peer(
    work: Work,
    generator: nn.Module,
    discriminator: nn.Module,
    judge: Callable[[Tensor, Any], Tensor],
    make: Callable[[], Tensor],
    condition: Any,
    optimisers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    *,
    together: bool,
) -> Peer:
    """Both steps in the order of BigGAN-PyTorch's `train_fns` (both in one pass) or StudioGAN's worker (apart)."""
    images = torch.rand(work.batch, 3, work.size, work.size) * 2 - 1
    optimiser_g, optimiser_d = optimisers

    def step() -> None:
        optimiser_g.zero_grad()
        optimiser_d.zero_grad()
        _toggle(discriminator, True)
        _toggle(generator, False)
        with torch.no_grad():
            fake = make()
        if together:
            both = torch.cat([condition, condition])
            scores_fake, scores_real = judge(torch.cat([fake, images]), both).chunk(2)
        else:
            scores_real, scores_fake = judge(images, condition), judge(fake, condition)
        (F.relu(1 - scores_real).mean() + F.relu(1 + scores_fake).mean()).backward()
        optimiser_d.step()
        _toggle(discriminator, False)
        _toggle(generator, True)
        (-judge(make(), condition).mean()).backward()
        optimiser_g.step()

    def generate() -> None:
        generator.eval()
        with torch.no_grad():
            make()
        generator.train()

    counts = tuple(sum(p.numel() for p in module.parameters()) for module in (generator, discriminator))
    return Peer(step, generate, (counts[0], counts[1]))


def biggan_pytorch(folder: Path, work: Work) -> Peer:
    """github.com/ajbrock/BigGAN-PyTorch, class-conditional."""
    with _imports(folder):
        module = importlib.import_module("BigGAN")
        common = {"resolution": work.size, "n_classes": work.condition}
        g = module.Generator(
            G_ch=work.channels, dim_z=work.noise, G_attn="32", shared_dim=work.embedding, hier=True, **common
        )
        d = module.Discriminator(D_ch=work.channels, D_attn="32", **common)
    labels = torch.randint(work.condition, (work.batch,))
    return _peer(
        work, g, d, d, lambda: g(torch.randn(work.batch, work.noise), g.shared(labels)), labels,
        (g.optim, d.optim), together=True,
    )  # fmt: skip


def ic_gan(folder: Path, work: Work) -> Peer:
    """github.com/facebookresearch/ic_gan, its BigGAN conditioned on a vector of its 2048-d instance features."""
    with _imports(folder / "BigGAN_PyTorch"):
        module = importlib.import_module("BigGAN")
        common = {"resolution": work.size, "class_cond": False, "instance_cond": True}
        g = module.Generator(
            G_ch=work.channels, dim_z=work.noise, G_attn="32", shared_dim_feat=work.embedding, hier=True,
            G_shared_feat=True, **common,
        )  # fmt: skip
        d = module.Discriminator(D_ch=work.channels, D_attn="32", **common)
    features = torch.randn(work.batch, 2_048)
    optimisers = tuple(torch.optim.Adam(m.parameters(), lr, BETAS) for m, lr in ((g, 1e-4), (d, 4e-4)))
    return _peer(
        work, g, d, lambda x, f: d(x, feat=f), lambda: g(torch.randn(work.batch, work.noise), feats=features),
        features, (optimisers[0], optimisers[1]), together=True,
    )  # fmt: skip


def studiogan(folder: Path, work: Work) -> Peer:
    """github.com/POSTECH-CVLab/PyTorch-StudioGAN, its BigGAN, class-conditional."""
    with _imports(folder / "src"):
        # Its `utils.misc` wants half of a plotting stack; the networks use one thing of it.
        sys.modules["utils.misc"] = SimpleNamespace(dummy_context_mgr=contextlib.nullcontext)  # type: ignore[assignment]
        ops = importlib.import_module("utils.ops")
        module = importlib.import_module("models.big_resnet")
        del sys.modules["utils.misc"]
        modules = SimpleNamespace(
            g_conv2d=ops.snconv2d, g_linear=ops.snlinear,
            g_bn=ops.ConditionalBatchNorm2d, g_act_fn=nn.ReLU(inplace=True),
            d_conv2d=ops.snconv2d, d_linear=ops.snlinear, d_embedding=ops.sn_embedding, d_act_fn=nn.ReLU(inplace=True),
        )  # fmt: skip
        model = SimpleNamespace(info_type="N/A")
        g = module.Generator(
            work.noise, work.embedding, work.size, work.channels, True, [3], "cBN", work.condition, "ortho", None,
            False, modules, model,
        )  # fmt: skip
        d = module.Discriminator(
            work.size, work.channels, True, True, [1], "PD", "N/A", None, False, work.condition, "ortho", None,
            False, modules, model,
        )  # fmt: skip
    labels = torch.randint(work.condition, (work.batch,))
    optimisers = tuple(torch.optim.Adam(m.parameters(), lr, BETAS) for m, lr in ((g, 1e-4), (d, 4e-4)))
    return _peer(
        work, g, d, lambda x, y: d(x, y)["adv_output"], lambda: g(torch.randn(work.batch, work.noise), labels),
        labels, (optimisers[0], optimisers[1]), together=False,
    )  # fmt: skip


PEERS = {"BigGAN-PyTorch": biggan_pytorch, "IC-GAN": ic_gan, "StudioGAN": studiogan}
"""By name: each takes its checkout's folder and the work."""
