"""The parts that generator and discriminator are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.checkpoint import checkpoint

from unlogit.errors import UnlogitError
from unlogit.runtime import distributed


class SpectralNorm(nn.Module):
    """W / sigma, sigma by one power iteration per training pass (Miyato et al. 2018, algorithm 1), full precision.

    Torch's own parametrization takes three products with a copy of a channels-last weight, and its gradient takes
    several passes over W, longer than a small batch's convolutions in bf16. On a GPU, autocast would compute the
    products, and with them sigma, in bf16.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        with torch.no_grad():
            matrix = _matrix(weight)
            self.register_buffer("_u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0, eps=eps))
            self.register_buffer("_v", torch.zeros_like(matrix[0]))
            # The meta device has no values to iterate on, and each iteration takes a millisecond.
            for _ in range(0 if weight.is_meta else 15):
                self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        kind = weight.device.type
        exact = torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
        with torch.no_grad(), exact:
            matrix = _matrix(weight)
            sigma = self._iterate(matrix) if self.training else self._u @ (matrix @ self._v)
        # Copies, since another pass may overwrite the vectors before gradients are computed.
        normalised: Tensor = _Normalised.apply(weight, sigma, self._u.clone(), self._v.clone())
        return normalised

    def _iterate(self, matrix: Tensor) -> Tensor:
        torch.mv(matrix.mT, self._u, out=self._v)
        F.normalize(self._v, dim=0, eps=self.eps, out=self._v)
        torch.mv(matrix, self._v, out=self._u)
        sigma = self._u.norm()
        self._u /= sigma.clamp(min=self.eps)
        return sigma


class _Normalised(torch.autograd.Function):
    """W / sigma with sigma = u' W v, u and v held constant: Miyato et al. 2018, equation 12."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(weight, sigma, u, v)
        return weight / sigma

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        weight, sigma, u, v = ctx.saved_tensors
        matrix = _matrix(grad)
        along = torch.dot(matrix.flatten(), _matrix(weight).flatten()) / sigma
        gradient = torch.addr(matrix, -along * u, v).div_(sigma)
        return gradient.view(weight.movedim(1, -1).shape).movedim(-1, 1), None, None, None


def _matrix(weight: Tensor) -> Tensor:
    """Return outputs x inputs, positions before channels: a view of a channels-last weight."""
    return weight.movedim(1, -1).flatten(1)


def build(layer: nn.Module, spectral_norm: bool) -> nn.Module:
    """Initialise orthogonal weights and zero biases (Brock et al. 2018), then add spectral normalisation if wanted."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    nn.init.orthogonal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    if spectral_norm:
        # "Unsafe" omits a trial pass, which fails on the meta device.
        register_parametrization(layer, "weight", SpectralNorm(layer.weight), unsafe=True)
    return layer


def conv(inputs: int, outputs: int, kernel: int, *, spectral_norm: bool, bias: bool = True) -> nn.Module:
    """Return a convolution that keeps the resolution."""
    return build(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias), spectral_norm)


def linear(inputs: int, outputs: int, *, spectral_norm: bool, bias: bool = True) -> nn.Module:
    return build(nn.Linear(inputs, outputs, bias=bias), spectral_norm)


@contextmanager
def no_power_iteration(module: nn.Module) -> Iterator[None]:
    """Use spectral norms as their last training pass left them."""
    norms = [m for m in module.modules() if isinstance(m, SpectralNorm) and m.training]
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True


def recomputed(module: nn.Module, *inputs: Tensor) -> Tensor:
    """Return `module(*inputs)`, recomputed in the backward pass instead of stored, with the same result."""
    output: Tensor = checkpoint(
        module,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), no_power_iteration(module)),
    )
    return output


def _shifted_sum(kernels: Tensor, shifts: Sequence[Sequence[int]]) -> Tensor:
    """Return 3x3 kernels applied to 2x2 boxes: the sum of four shifts on a 4x4 support.

    One product is several times as fast as four sums. A x 9 x B, in any strides, become A x B x 4 x 4, channels last.
    """
    along = kernels.new_tensor(shifts)
    return (torch.kron(along, along) @ kernels).unflatten(1, (4, 4)).permute(0, 3, 1, 2)


SHIFTS = ((1, 0, 0), (1, 1, 0), (0, 1, 1), (0, 0, 1))


def folds(x: Tensor) -> bool:
    """Return whether folding a kernel saves time; the limit is measured on CPUs, in fp32 and bf16."""
    return x.shape[0] * x.shape[2] * x.shape[3] > 512


def upsampled_conv(x: Tensor, layer: nn.Module) -> Tensor:
    """Apply `layer` (3x3) after nearest up-sampling by 2, exactly, by 16 instead of 36 products per input unit.

    Both are linear and local, so that together they are one transposed 4x4 convolution of stride 2.
    """
    assert isinstance(layer, nn.Conv2d)
    if not folds(x):
        return layer(F.interpolate(x, scale_factor=2))
    # A transposed convolution flips its kernel; the box is symmetric, so that reversed shifts undo that.
    kernels = layer.weight.permute(1, 2, 3, 0).flatten(1, 2)
    weight = _shifted_sum(kernels, SHIFTS[::-1])
    return F.conv_transpose2d(x, weight, layer.bias, stride=2, padding=1)


def conv_downsampled(x: Tensor, layer: nn.Module) -> Tensor:
    """Apply `layer` (3x3) before average pooling by 2, exactly, as one 4x4 convolution of stride 2."""
    assert isinstance(layer, nn.Conv2d)
    weight = _shifted_sum(layer.weight.permute(0, 2, 3, 1).flatten(1, 2), SHIFTS) / 4
    return F.conv2d(x, weight, layer.bias, stride=2, padding=1)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and variance of each channel over all ranks, which hold equal shares."""
    # The function of batch norm itself, in full precision; torch.var_mean takes twenty times as long.
    running = torch.zeros(2, x.shape[1], device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    mean, var = torch.batch_norm_update_stats(x, running[0], running[1], 0.0)
    means, variances = distributed.gathered(torch.stack([mean, var])).unbind(1)
    mean = means.mean(0)
    # A mean of squares less a squared mean would lose digits.
    return mean, variances.mean(0) + (means - mean).square().mean(0)


class _SyncedNorm(torch.autograd.Function):
    """Batch normalisation with the statistics of all ranks; one exchange in each direction.

    Torch's SyncBatchNorm does not run on the CPU. Its gradient, too, is that of the sum of all ranks' losses.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        mean, var = _statistics(x)
        ctx.save_for_backward(x, mean, var)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, mean, var = ctx.saved_tensors
        # The gradient with constant statistics, and the sums of the gradient times the output and of the gradient.
        gradient, along, total = torch.ops.aten.native_batch_norm_backward(
            grad, x, torch.ones_like(mean), mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        return _through_statistics(gradient, along, total, x, mean, var, ctx.eps), None


class _ModulatedNorm(torch.autograd.Function):
    """Batch normalisation with the statistics of all ranks, then a gain and a bias for each image, N x C.

    Works image by image, so that each map enters the cache once: one pass over memory forwards and two backwards, where
    autograd's derivative of the product alone takes three. Meant for a CPU; on a GPU so many calls would be slower.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
        mean, var = _statistics(x)
        gain, bias = gain.to(mean.dtype), bias.to(mean.dtype)
        ctx.save_for_backward(x, gain, mean, var)
        ctx.eps = eps
        modulated, unused = torch.empty_like(x), torch.empty(0, dtype=mean.dtype)
        for n, image in enumerate(x.split(1)):
            torch.ops.aten.native_batch_norm.out(
                image, gain[n], bias[n], mean, var, False, 0.0, eps,
                out=modulated[n : n + 1], save_mean=unused, save_invstd=unused,
            )  # fmt: skip
        return modulated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, gain, mean, var = ctx.saved_tensors
        gradient, along, total = torch.empty_like(x), torch.empty_like(gain), torch.empty_like(gain)
        for n, image in enumerate(x.split(1)):
            gradient[n : n + 1], along[n], total[n] = torch.ops.aten.native_batch_norm_backward(
                grad[n : n + 1], image, gain[n], mean, var, None, None, False, ctx.eps, [True, True, True]
            )
        gradient = _through_statistics(gradient, (gain * along).sum(0), (gain * total).sum(0), x, mean, var, ctx.eps)
        return gradient, along, total, None


def _through_statistics(
    gradient: Tensor, along: Tensor, total: Tensor, x: Tensor, mean: Tensor, var: Tensor, eps: float
) -> Tensor:
    """Complete, in place, a batch norm's gradient that held the statistics constant.

    `along` and `total` are sums over a channel's units on this rank: of the gradient times the normalised map, and of
    the gradient.
    """
    along, total = distributed.gathered(torch.stack([along, total])).mean(0) * x.shape[1] / x.numel()
    scale = (var + eps).rsqrt()
    tilt = -scale.square() * along
    level = -scale * total - tilt * mean
    gradient = gradient.add_(level.to(x.dtype).view(1, -1, 1, 1))
    return gradient.addcmul_(x, tilt.to(x.dtype).view(1, -1, 1, 1))


def _large(x: Tensor) -> bool:
    """Return whether a call per image is faster than passes over all maps; the limit is measured."""
    return x.device.type == "cpu" and x[0].numel() >= 65_536


class Normalise(nn.Module):
    """Batch normalisation over all ranks, with standing statistics for evaluation; gain and bias are the caller's.

    Training mode uses the batch's own statistics: E and S of the paper's equation 3, over all units of a channel and
    all inputs of the (global) batch. Evaluation mode uses the statistics accumulated by `standing_statistics`, as
    compare_gan does; a running average would belong to older weights than the averaged ones.
    """

    mean: Tensor
    var: Tensor
    batches: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.accumulate = False
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.mean, self.var, gain, bias, eps=self.eps)
        if self.accumulate:
            self._accumulate(*_statistics(x))
        if distributed.world_size() == 1:
            return F.batch_norm(x, None, None, gain, bias, training=True, eps=self.eps)
        normalised: Tensor = _SyncedNorm.apply(x, self.eps)
        if gain is None or bias is None:
            return normalised
        return torch.addcmul(bias.view(1, -1, 1, 1), normalised, gain.view(1, -1, 1, 1)).to(x.dtype)

    def modulated(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Return the normalised map times `gain` plus `bias`, both N x C, one row per image."""
        if self.training and not self.accumulate and _large(x):
            modulated: Tensor = _ModulatedNorm.apply(x, gain, bias, self.eps)
            return modulated
        return torch.addcmul(bias[:, :, None, None], self(x), gain[:, :, None, None])

    @torch.no_grad()
    def _accumulate(self, mean: Tensor, var: Tensor) -> None:
        self.batches += 1
        self.mean += (mean - self.mean) / self.batches
        self.var += (var - self.var) / self.batches


class ConditionalBatchNorm(nn.Module):
    """y' = gamma(c) (y - E[y]) / S[y] + beta(c): the paper's equation 3.

    Args:
        channels: number of channels of y.
        condition: length of the vector c, the representation joined with this layer's noise chunk.
        hidden: width of the two-layer MLPs that the paper uses ("self-modulation" in compare_gan: 32, ReLU, gamma
            starting at 1). None is BigGAN's class-conditional form, one linear map without bias each.
    """

    def __init__(self, channels: int, condition: int, hidden: int | None) -> None:
        super().__init__()
        self.normalise = Normalise(channels)
        # Never spectrally normalised: bounded gains have been reported to cripple the generator.
        if hidden is None:
            self.hidden: nn.Module = nn.Identity()
            self.gamma = linear(condition, channels, spectral_norm=False, bias=False)
            self.beta = linear(condition, channels, spectral_norm=False, bias=False)
        else:
            self.hidden = nn.Sequential(linear(condition, hidden, spectral_norm=False), nn.ReLU())
            self.gamma = linear(hidden, channels, spectral_norm=False)
            self.beta = linear(hidden, channels, spectral_norm=False)

    def forward(self, y: Tensor, condition: Tensor) -> Tensor:
        hidden = self.hidden(condition)
        gamma = 1 + self.gamma(hidden)
        beta = self.beta(hidden)
        return self.normalise.modulated(y, gamma, beta)


class Attention(nn.Module):
    """Self-attention with a learned gate that starts at zero (Zhang et al. 2019, SAGAN; sizes of BigGAN).

    Raises:
        UnlogitError: fewer than 8 channels, of which queries and keys have an eighth.
    """

    def __init__(self, channels: int, *, spectral_norm: bool) -> None:
        super().__init__()
        if channels < 8:
            raise UnlogitError(
                f"attention over {channels} channels: must be at least 8; give wider networks or no attention"
            )
        self.query = conv(channels, channels // 8, 1, spectral_norm=spectral_norm, bias=False)
        self.key = conv(channels, channels // 8, 1, spectral_norm=spectral_norm, bias=False)
        self.value = conv(channels, channels // 2, 1, spectral_norm=spectral_norm, bias=False)
        self.out = conv(channels // 2, channels, 1, spectral_norm=spectral_norm, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2).transpose(1, 2)
        key = F.max_pool2d(self.key(x), 2).flatten(2).transpose(1, 2)
        value = F.max_pool2d(self.value(x), 2).flatten(2).transpose(1, 2)
        # Padding with zeros changes no score; fused kernels require equal lengths and a dimension for heads.
        padding = (0, value.shape[2] - query.shape[2])
        query, key, value = F.pad(query, padding)[:, None], F.pad(key, padding)[:, None], value[:, None]
        # Unscaled scores, as in SAGAN.
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.gate * self.out(attended[:, 0].transpose(1, 2).unflatten(2, x.shape[2:]))
