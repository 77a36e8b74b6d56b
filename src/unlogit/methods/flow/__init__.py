"""A conditional flow: many samples per representation, by integrating a learned velocity from noise."""

from unlogit.methods.flow.config import FlowConfig, VelocityConfig

__all__ = ["FlowConfig", "VelocityConfig"]
