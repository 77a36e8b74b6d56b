"""An up-convolutional decoder to the mean or most likely image of a representation (Dosovitskiy and Brox 2016a, b)."""

from unlogit.methods.decoder.config import DOSOVITSKIY_2016A, DecoderConfig, DosovitskiyConfig

__all__ = ["DOSOVITSKIY_2016A", "DecoderConfig", "DosovitskiyConfig"]
