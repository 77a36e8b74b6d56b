"""Names of classifiers, of every source that can list them."""

from __future__ import annotations

from fnmatch import fnmatchcase

from unlogit import registry
from unlogit.errors import UnlogitError


def find(pattern: str) -> list[str]:
    """Specs that match a shell pattern, whatever their case, sorted by source.

    Args:
        pattern: such as "resnetv2*", for all sources, or "timm:resnetv2*". A network's name without the tag of its
            weights matches too. Random weights and files are not listed.

    Raises:
        UnlogitError: for no match; it names the sources that can be listed, and those that lack their package.
    """
    prefix, colon, wanted = pattern.rpartition(":")
    package = "unlogit.classifiers"
    matches, listed, lacking = [], [], []
    for source in [prefix] if colon else registry.names(package):
        module = registry.module(package, source, "classifier prefix")
        if not hasattr(module, "names"):
            continue
        listed.append(source)
        try:
            names = module.names()
        except UnlogitError as error:
            lacking.append(str(error))
            continue
        matches += [f"{source}:{name}" for name in names if _matches(name.lower(), wanted.lower())]
    if not listed:
        raise UnlogitError(f"classifiers of '{prefix}:' are your own, and cannot be listed")
    if not matches:
        reasons = "".join(f"; {reason}" for reason in lacking)
        raise UnlogitError(
            f"no classifier of {', '.join(listed)} matches '{wanted}': try '*{wanted.strip('*')}*'{reasons}"
        )
    return matches


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.partition(".")[0], pattern)
