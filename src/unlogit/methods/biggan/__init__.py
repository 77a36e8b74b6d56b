"""The paper's method: BigGAN conditioned on a representation (Teterwak et al., ICML 2021)."""

from unlogit.methods.biggan.config import BigGANConfig, DiscriminatorConfig, GeneratorConfig

__all__ = ["BigGANConfig", "DiscriminatorConfig", "GeneratorConfig"]
