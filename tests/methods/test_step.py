"""The step is exact: in parts it is the whole batch's, and as rewritten it is a plain float64 reference's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unlogit.methods.biggan import BigGANConfig, DiscriminatorConfig, GeneratorConfig, layers
from unlogit.methods.biggan.trainer import BigGANTrainer
from unlogit.training import TrainConfig

BATCH, SIZE, CONDITION, NOISE = 6, 32, 10, 16


def learning(**changes: Any) -> BigGANTrainer:
    """The paper's method on one random batch; every call of `noise` and `uniform` gives the same."""
    torch.manual_seed(1)
    images, representation = torch.rand(BATCH, 3, SIZE, SIZE), torch.randn(BATCH, CONDITION)
    noise, shifts = torch.randn(BATCH, NOISE), torch.rand(BATCH, 2)
    feed: Any = SimpleNamespace(
        representation=SimpleNamespace(dim=CONDITION),
        pair=lambda _position: (images, representation),
        noise=lambda _position, _which, _length: noise,
        uniform=lambda _position, _which, _length: shifts,
    )
    config = TrainConfig(
        images="",
        held_out="",
        classifier="",
        out=Path("unused"),
        batch=BATCH,
        method=BigGANConfig(
            d_steps=1,
            generator=GeneratorConfig(SIZE, channels=4, noise=NOISE, hidden=8, attention=16),
            discriminator=DiscriminatorConfig(channels=4, attention=16),
        ),
        precision="fp32",
    )
    config = replace(config, method=replace(config.method, **changes))
    method = BigGANTrainer(config, feed, torch.device("cpu"))
    with torch.no_grad():  # Attention takes part from the first step on.
        for network in (method.generator, method.discriminator):
            for attention in network.attention.values():
                attention.gate.fill_(0.5)
    return method


def gradients(method: BigGANTrainer) -> dict[str, Tensor]:
    named = [("g", method.generator), ("d", method.discriminator)]
    return {f"{which}.{n}": p.grad for which, net in named for n, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("size", [1, 4, 6])
@pytest.mark.parametrize(
    "changes",
    [
        {"layout_weight": 2.0, "translation": True},
        {"adversarial": "relativistic", "gradient_penalty": 1.0},
        {"shared_fakes": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_micro_batches_give_the_gradients_of_the_whole(changes: dict[str, Any], size: int) -> None:
    whole, parts = learning(**changes), learning(**changes, micro_batch=size)
    told, in_parts = whole.step(), parts.step()
    assert told.keys() == in_parts.keys()
    for name, value in told.items():
        torch.testing.assert_close(in_parts[name], value, rtol=1e-4, atol=1e-6)
    expected, found = gradients(whole), gradients(parts)
    assert expected.keys() == found.keys()
    largest = max(value.norm() for value in expected.values())
    for name, value in expected.items():
        # Not element by element: D has taken a step of Adam, in which a tiny gradient's rounding is a step's size.
        # Some gradients are zero, as of a bias before a batch norm: on the scale of the largest.
        assert (found[name] - value).norm() <= 1e-3 * value.norm() + 1e-6 * largest, name
    for (name, one), (_, other) in zip(whole.generator.named_buffers(), parts.generator.named_buffers(), strict=True):
        torch.testing.assert_close(other, one, msg=name)


def test_the_step_is_that_of_a_plain_float64_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "folds", lambda _: True)  # So few images would be drawn without folded kernels.
    method = learning()
    images, representation = method.data.pair(0)
    noise = method.noise(0, 0)
    g, d = (Plain(network) for network in (method.generator, method.discriminator))
    images, representation, noise = images.double(), representation.double(), noise.double()
    with torch.no_grad():
        fake = g.generator(representation, noise)
    real_and_fake = d.discriminator(torch.cat([images, fake]), representation.repeat(2, 1))
    loss_d = F.relu(1 - real_and_fake[:BATCH]).mean() + F.relu(1 + real_and_fake[BATCH:]).mean()
    loss_d.backward()
    told = method.step()
    assert float(told["loss_d"]) == pytest.approx(loss_d.item() - 2, abs=1e-5)
    d.compare(method.discriminator)
    # D has taken its step since then, its norms one iteration, and G one without a gradient.
    after = Plain(method.discriminator, iterate=False)
    loss_g = -after.discriminator(g.generator(representation, noise), representation).mean()
    loss_g.backward()
    assert float(told["loss_g"]) == pytest.approx(loss_g.item(), abs=1e-5)
    g.compare(method.generator)


class Plain:
    """The networks as the papers have them, with a copy of one's numbers in float64, layer by layer and unfused."""

    def __init__(self, network: torch.nn.Module, *, iterate: bool = True) -> None:
        self.state = {n: t.detach().double().clone() for n, t in network.state_dict().items()}
        self.parameters = {n: self.state[n].requires_grad_() for n, _ in network.named_parameters()}
        self.iterate = iterate

    def compare(self, network: torch.nn.Module) -> None:
        """Gradients alike; those that are zero, as of a bias before a batch norm, on the scale of the largest."""
        largest = max(p.grad.norm() for p in self.parameters.values() if p.grad is not None)
        for name, parameter in network.named_parameters():
            expected, found = self.parameters[name].grad, parameter.grad
            assert expected is not None and found is not None, name
            assert (found.double() - expected).norm() <= 2e-4 * expected.norm() + 1e-6 * largest, name

    def weight(self, layer: str) -> Tensor:
        """W / sigma, sigma by one power iteration from the vector that is kept (Miyato et al. 2018)."""
        if f"{layer}.weight" in self.state:
            return self.state[f"{layer}.weight"]
        prefix = f"{layer}.parametrizations.weight"
        weight, u, v = (self.state[f"{prefix}.{name}"] for name in ("original", "0._u", "0._v"))
        matrix = weight.movedim(1, -1).flatten(1)  # In this order the vector v is kept, where it is not iterated.
        if self.iterate:
            with torch.no_grad():
                v = F.normalize(matrix.T @ u, dim=0)
                u = F.normalize(matrix @ v, dim=0)
            self.state[f"{prefix}.0._u"], self.state[f"{prefix}.0._v"] = u, v
        return weight / (u @ matrix @ v)

    def conv(self, layer: str, x: Tensor) -> Tensor:
        weight = self.weight(layer)
        return F.conv2d(x, weight, self.state.get(f"{layer}.bias"), padding=weight.shape[-1] // 2)

    def linear(self, layer: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(layer), self.state.get(f"{layer}.bias"))

    @staticmethod
    def normalised(x: Tensor) -> Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        return (x - mean) / ((x - mean).square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()

    def conditional_norm(self, layer: str, x: Tensor, condition: Tensor) -> Tensor:
        hidden = F.relu(self.linear(f"{layer}.hidden.0", condition))
        gain, bias = 1 + self.linear(f"{layer}.gamma", hidden), self.linear(f"{layer}.beta", hidden)
        return self.normalised(x) * gain[:, :, None, None] + bias[:, :, None, None]

    def attention(self, layer: str, x: Tensor) -> Tensor:
        query, key, value = (self.conv(f"{layer}.{name}", x) for name in ("query", "key", "value"))
        key, value = (F.max_pool2d(t, 2).flatten(2) for t in (key, value))
        weights = torch.softmax(query.flatten(2).transpose(1, 2) @ key, -1)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.state[f"{layer}.gate"] * self.conv(f"{layer}.out", attended)

    def generator(self, representation: Tensor, noise: Tensor) -> Tensor:
        first, *chunks = noise.chunk(4, 1)
        x = self.linear("first", first).view(len(noise), -1, 4, 4)
        for i, chunk in enumerate(chunks):
            block, condition = f"blocks.{i}", torch.cat([representation, chunk], 1)
            h = F.relu(self.conditional_norm(f"{block}.norm1", x, condition))
            h = self.conv(f"{block}.conv1", F.interpolate(h, scale_factor=2))
            h = self.conv(f"{block}.conv2", F.relu(self.conditional_norm(f"{block}.norm2", h, condition)))
            x = h + self.conv(f"{block}.shortcut", F.interpolate(x, scale_factor=2))
            if f"attention.{i}.gate" in self.state:
                x = self.attention(f"attention.{i}", x)
        x = self.normalised(x) * self.state["last_gain"].view(-1, 1, 1) + self.state["last_bias"].view(-1, 1, 1)
        return (torch.tanh(self.conv("last", F.relu(x))) + 1) / 2

    def discriminator(self, pixels: Tensor, representation: Tensor) -> Tensor:
        x = 2 * pixels - 1
        for i in range(4):
            block = f"blocks.{i}"
            h = self.conv(f"{block}.conv2", F.relu(self.conv(f"{block}.conv1", x if i == 0 else F.relu(x))))
            across = f"{block}.shortcut"
            shortcut = self.conv(across, x) if any(n.startswith(across) for n in self.state) else x
            x = h + shortcut
            if i < 3:
                x = F.avg_pool2d(x, 2)
            if f"attention.{i}.gate" in self.state:
                x = self.attention(f"attention.{i}", x)
        psi = F.relu(x).sum((2, 3))
        return self.linear("unconditional", psi).squeeze(1) + (self.linear("projection", representation) * psi).sum(1)


def test_the_reencoding_loss_runs_in_the_precision_of_the_step() -> None:
    trainer = learning(reencoding_weight=1.0)
    trainer.config = replace(trainer.config, precision="bf16")
    autocast: list[bool] = []

    def encode(pixels: Tensor) -> Tensor:
        autocast.append(torch.is_autocast_enabled("cpu"))
        return pixels.mean((2, 3)).repeat(1, 4)[:, :CONDITION]

    representation: Any = trainer.data.representation
    representation.encode, representation.standardise = encode, lambda raw: raw
    trainer.step()
    assert autocast == [True]
