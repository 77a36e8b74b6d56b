"""The images, representations and reconstructions that one update of a network is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass
class MicroBatch:
    """The part of a batch that the discriminator holds at once.

    Attributes:
        part: slice of the batch.
        batch_fakes: fakes of the whole batch.
        images: real images, N x 3 x S x S in [0, 1].
        representation: N x K, standardised.
        shifts_real, shifts_fake: random translations, N x 2 in [0, 1); None for none.
        share: N over the size of the whole batch.
        fake_features: the discriminator's features of the fakes, which its update leaves for the generator's update
            where both use the same fakes; otherwise None.
    """

    part: slice
    batch_fakes: Tensor
    images: Tensor
    representation: Tensor
    shifts_real: Tensor | None
    shifts_fake: Tensor | None
    share: float
    fake_features: list[Tensor] | None = None

    @property
    def fakes(self) -> Tensor:
        """Reconstructions of the representations, N x 3 x S x S; a new slice at each access.

        Each loss then adds its gradient as a whole; in a shared slice the order of the sums would depend on the other
        losses.
        """
        return self.batch_fakes[self.part]


@dataclass(frozen=True)
class Batch:
    """One process's share of a global batch.

    Attributes:
        position: number of training images before it.
        images, representation: as in `MicroBatch`.
        generated: G(z, eps), with the generator's graph where the batch updates the generator.
        fakes: the same tensor, detached from that graph. The losses of all micro-batches add their gradients here, and
            the generator backpropagates the whole batch at once, since its batch norms mix the images of a batch.
        parts: the micro-batches, at least one.
    """

    position: int
    images: Tensor
    representation: Tensor
    generated: Tensor
    fakes: Tensor
    parts: list[MicroBatch]


def split(
    position: int,
    images: Tensor,
    representation: Tensor,
    generated: Tensor,
    shifts: tuple[Tensor | None, Tensor | None],
    size: int,
) -> Batch:
    """Return a batch in micro-batches of `size` images (0: all in one); `shifts` are those of real images and fakes."""
    fakes = generated.detach().requires_grad_(generated.requires_grad)
    total = len(images)
    parts = []
    for start in range(0, total, size or total):
        part = slice(start, min(start + (size or total), total))
        real, fake = (None if s is None else s[part] for s in shifts)
        share = (part.stop - part.start) / total
        parts.append(MicroBatch(part, fakes, images[part], representation[part], real, fake, share))
    return Batch(position, images, representation, generated, fakes, parts)


class Means(dict[str, Tensor]):
    """Means over a batch, accumulated from means over its parts."""

    def add(self, share: float, values: Mapping[str, Tensor]) -> None:
        """Add the means over a part that is `share` of the batch."""
        for name, value in values.items():
            self[name] = self.get(name, 0) + share * value.detach()
