"""Representation of an image at one layer of a classifier, its standardisation, and its cache."""

from unlogit.representation.cache import RepresentationCache
from unlogit.representation.standardised import Representation

__all__ = ["Representation", "RepresentationCache"]
