"""A representation: what a classifier keeps of an image at one layer, how it is standardised, and its cache."""

from unlogit.representation.cache import RepresentationCache
from unlogit.representation.standardised import Representation

__all__ = ["Representation", "RepresentationCache"]
