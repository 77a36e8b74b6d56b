"""The paper's generator and discriminator, a second discriminator on a frozen network, and other methods' networks."""

from unlogit.networks.discriminator import Discriminator, DiscriminatorConfig
from unlogit.networks.dosovitskiy import Decoder, DecoderConfig, JointDiscriminator
from unlogit.networks.generator import Generator, GeneratorConfig, folded, standing_statistics
from unlogit.networks.projected import ProjectedDiscriminator
from unlogit.networks.velocity import Velocity, VelocityConfig

__all__ = [
    "Decoder",
    "DecoderConfig",
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "JointDiscriminator",
    "ProjectedDiscriminator",
    "Velocity",
    "VelocityConfig",
    "folded",
    "standing_statistics",
]
