"""Studies: people, or metrics, choose the closer of two reconstructions, or people name what an image shows."""

COMPARISON, NAMING = "comparison", "naming"
"""Kinds of trial: which of two reconstructions is closer to the original, and what is in an image."""
ORIGINAL = "original"
SIMULATED = "simulated"
"""The observer of simulated participants, who are no part of any result unless asked for."""
OTHER = "another image"
"""In an attention check, the alternative that is plainly wrong: the original of another place."""
