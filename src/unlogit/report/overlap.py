"""Statements of a report on whether inverters were trained on the images that they are analysed on."""

from __future__ import annotations

from collections.abc import Iterable

from unlogit.analyses import Evidence
from unlogit.images import same_images
from unlogit.methods import Inverter, LearnedInverter
from unlogit.methods.nearest import NearestNeighbour
from unlogit.outside import plain


def trained_on_these(evidence: Evidence) -> list[str]:
    """Return the names of the inverters that were trained on the images of the evidence or on its other images."""
    return [name for name, inverter in evidence.inverters.items() if _is_trained_on(inverter, evidence)]


def warnings(evidence: Evidence) -> list[str]:
    """Return a line for each inverter that was trained on the images of the evidence."""
    return [
        f"{plain(name)} was trained on these very images: its metrics show what it memorised; give other images"
        for name in trained_on_these(evidence)
    ]


def describe(evidence: Evidence) -> str:
    """Return sentences on what is known about the training images and how it was compared."""
    same = trained_on_these(evidence)
    groups: dict[str, list[str]] = {}
    for name, inverter in evidence.inverters.items():
        if name not in same:
            groups.setdefault(_describe_training(inverter), []).append(name)
    sentences = (
        [f"{_listed(same)}: trained on these very images, so that metrics show what was memorised."] if same else []
    )
    sentences += [f"{_listed(names)}: {description}." for description, names in groups.items()]
    if any(_specs(inverter) for name, inverter in evidence.inverters.items() if name not in same):
        sentences.append("Datasets were compared as a whole; single images that two of them share were not looked for.")
    return " ".join(sentences)


def _is_trained_on(inverter: Inverter, evidence: Evidence) -> bool:
    fingerprints = [(evidence.source.spec, evidence.dataset.fingerprint)]
    fingerprints += [(source.spec, evidence.other_fingerprints[name]) for name, source in evidence.others.items()]
    return any(
        spec == source or same_images(spec, fingerprint)
        for source, fingerprint in fingerprints
        for spec in _specs(inverter)
    )


def _specs(inverter: Inverter) -> list[str]:
    """Return specs or fingerprints of all recorded training images of an inverter, its own training first."""
    if isinstance(inverter, NearestNeighbour):
        return [inverter.source.fingerprint()]
    if not isinstance(inverter, LearnedInverter):
        return []
    facts = inverter.facts
    own = facts.get("training_fingerprint") or facts.get("training_images")
    earlier = facts.get("earlier_training", [])
    return [str(spec) for spec in [own, *(earlier if isinstance(earlier, list) else [earlier])] if spec]


def _describe_training(inverter: Inverter) -> str:
    """Return what is known about an inverter's training images, if they are not those of the evidence."""
    specs = [plain(spec.rsplit("#", 2)[0]) for spec in _specs(inverter)]
    if isinstance(inverter, NearestNeighbour):
        return f"looks images up in another dataset ({specs[0]})"
    if not isinstance(inverter, LearnedInverter):
        return "not trained on images"
    if not specs or ("start" in inverter.facts and len(specs) < 2):
        return "no complete record of the training images, so that it may have seen these"
    return f"trained on another dataset ({', '.join(dict.fromkeys(specs))})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(plain, names))
