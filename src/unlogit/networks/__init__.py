"""The paper's generator and discriminator, and the second discriminator on a frozen network's features."""

from unlogit.networks.discriminator import Discriminator, DiscriminatorConfig
from unlogit.networks.generator import Generator, GeneratorConfig, folded, standing_statistics
from unlogit.networks.projected import ProjectedDiscriminator

__all__ = [
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "ProjectedDiscriminator",
    "folded",
    "standing_statistics",
]
