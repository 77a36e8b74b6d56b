"""Trained inverters of any network, saved to and loaded from a folder or the Hugging Face Hub."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor, nn

from unlogit.classifiers import check_allowed, open_classifier
from unlogit.classifiers.fitted import lineage
from unlogit.errors import UnlogitError, first_line
from unlogit.files import check_replaceable, holding, replacing, to_json
from unlogit.former import current
from unlogit.methods._inverter import Inverter
from unlogit.methods._packing import halved, packed, unpacked, unpacked_header
from unlogit.representation import Representation
from unlogit.representation.layers import LIMIT
from unlogit.saved import (
    CONFIG,
    WEIGHTS,
    check_keys,
    check_tensors,
    on_meta,
    read_header,
    read_json,
    read_tensors,
    write_tensors,
)
from unlogit.trust import named_by, trusting

DISCRIMINATOR, CARD = "discriminator.safetensors", "README.md"
FORMAT = 1
SAVED = holding(CONFIG, ("format", "classifier", "facts"), lambda _: (WEIGHTS, DISCRIMINATOR, CARD))
"""Recognises the folder of a saved inverter, which may be replaced."""
FOLDER = "an inverter is a folder with config.json and model.safetensors, as 'unlogit train' writes into RUN/inverter"
AGAIN = "copy or train it again"
REQUIRED_FACTS: dict[str, Any] = {"deviations": list[str]}
FACTS: dict[str, Any] = {
    "images_seen": int,
    "images_before": int,
    "hours": int | float,
    "source": str,
    "took_part": dict[str, str | None],
    "training_fingerprint": str,
    "earlier_training": list[str],
    "validation": dict[str, int | float],
}
"""Types of the facts that unlogit computes with or formats."""
PLAIN_FILES = ("*.json", "*.safetensors", "*.md", "*.txt")
"""Files that are downloaded from the Hub: no code, but a classifier may be among them."""
PAPER = "Teterwak et al., ICML 2021"


class LearnedInverter(Inverter, ModelHubMixin):
    """A trained network with the representation that it inverts.

    Its folder holds config.json, model.safetensors and README.md, the model card, and discriminator.safetensors where
    there is a discriminator for further training.

    Args:
        facts: facts about the training, saved in config.json for the model card: at least "deviations"; "source" is the
            method's paper, if it is not Teterwak et al.; "took_part" maps the specs of the classifiers that training
            used to the fingerprints of their weights.

    Attributes:
        KIND: kind of the inverter, which is also the name of the network in the saved files.
        discriminator: weights by name of the discriminator that the network was trained against; may be empty.
    """

    KIND: ClassVar[str]
    DIFFERENTIABLE: ClassVar[bool] = True

    def __init__(self, representation: Representation, network: nn.Module, size: int, facts: dict[str, Any], name: str):
        super().__init__()
        self.name = name
        self.representation = representation
        self.network = network.eval().requires_grad_(False)
        self.facts = facts
        self.size = size
        self.deviations = tuple(facts["deviations"])
        self.discriminator: dict[str, Tensor] = {}

    def took_part(self) -> dict[str, str | None]:
        """Return also the frozen networks that took part in training, as far as the facts name them."""
        saved = self.facts.get("took_part", {})
        return {start: None for spec in saved for start in lineage(spec)} | saved | super().took_part()

    def history(self) -> list[str]:
        """Return also the number of training images, if the facts hold it."""
        seen = self.facts.get("images_before", 0) + self.facts.get("images_seen", 0)
        return [*([f"trained on {seen:,} images"] if seen else []), *super().history()]

    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """Return the arguments from which `network_of` builds the same network, as JSON values."""

    @classmethod
    @abstractmethod
    def network_of(cls, dim: int, shape: dict[str, Any], what: str) -> nn.Module:
        """Build a network whose weights are read later; raise `UnlogitError` where the shape is not valid.

        Args:
            dim: length of the representation.
            shape: as `shape` returned it, from a file.
            what: name of the file and its part, for errors.
        """

    @classmethod
    def restore(
        cls, representation: Representation, network: Any, shape: dict[str, Any], facts: dict[str, Any], name: str
    ) -> Self:
        """Return an inverter of a network that `network_of` built."""
        return cls(representation, network, facts=facts, name=name)  # type: ignore[call-arg]

    def save(self, folder: Path | str, bits: int | None = None) -> None:
        """Write config.json, model.safetensors and README.md (the model card) atomically.

        Args:
            folder: target folder; an existing inverter is replaced, anything else raises `UnlogitError`.
            bits: bits per weight: None for float32, 16 for half precision, or 2 to 8, each stored in a byte, a quarter
                of the size of float32; fewer than eight make the compressed file, as in git, smaller still. Images
                differ by about a third of a level of 255 with eight bits, by one or two levels with six. The
                discriminator gets at most 8 bits, since it only serves further training.
        """
        if bits is not None and bits != 16 and not 2 <= bits <= 8:
            raise UnlogitError(f"bits {bits}: must be 2 to 8, 16, or None for float32")
        with replacing(Path(folder), SAVED, folder=True) as fresh:
            self._save_pretrained(fresh, bits)

    def save_pretrained(self, save_directory: Path | str, **options: Any) -> str | None:
        """Save as `save` does, with the options of huggingface_hub's `ModelHubMixin`."""
        check_replaceable(Path(save_directory), SAVED, folder=True)
        return super().save_pretrained(save_directory, **options)

    def _save_pretrained(self, save_directory: Path, bits: int | None = None) -> None:
        config = {
            "format": FORMAT,
            "kind": self.KIND,
            "name": self.name,
            "classifier": self.representation.classifier.spec,
            "layer": self.representation.layer,
            self.KIND: self.shape(),
            "facts": self.facts,
        }
        tensors = {f"{self.KIND}.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {"shift": self.representation.shift, "scale": self.representation.scale}
        (save_directory / CONFIG).write_text(to_json(config, indent=2) + "\n")
        for file, saved in ((WEIGHTS, tensors), (DISCRIMINATOR, self.discriminator)):
            if saved:
                stored = {k: v.detach().cpu().float().contiguous() for k, v in saved.items()}
                if bits == 16 and file == WEIGHTS:
                    stored = {k: halved(v) for k, v in stored.items()}
                elif bits is not None:
                    stored = packed(stored, min(bits, 8))
                write_tensors(stored, save_directory / file)
        (save_directory / CARD).write_text(card(config, self.size, self.network))

    @classmethod
    def load(cls, folder: Path | str, trust_code: bool = False) -> Self:
        """Open a folder that `save` wrote; raise `UnlogitError` where it is not one or is damaged.

        `{folder}` in the classifier of config.json stands for the folder, so that both can be shared together.

        Args:
            folder: folder of the inverter.
            trust_code: whether the classifier may be one that runs code, such as `python:`.
        """
        with trusting(trust_code), named_by(_called(folder := Path(folder))):
            return cls._load(folder)

    @classmethod
    def _load(cls, folder: Path) -> Self:
        what = _called(folder)
        config = read_config(folder)
        if kind(config) != cls.KIND:
            raise UnlogitError(f"{what} is a {kind(config)}, not a {cls.KIND}: give the folder alone")
        # Cheap checks come first: whether the weights fit the network that config.json describes.
        header = unpacked_header(read_header(folder / WEIGHTS, what, FOLDER), what)
        dim = (header.get("shift", ("", ()))[1] or (0,))[0]
        if not 1 <= dim <= LIMIT:
            raise UnlogitError(f"{what}: its 'shift' has {dim} values, must be 1 to {LIMIT:,}: {AGAIN}")
        shape, part = config[cls.KIND], f"'{cls.KIND}' in {CONFIG} of {what}"
        network = on_meta(lambda: cls.network_of(dim, shape, part), part)
        constants = {"shift": torch.empty(dim, device="meta"), "scale": torch.empty(dim, device="meta")}
        expected = {f"{cls.KIND}.{name}": value for name, value in network.state_dict().items()} | constants
        check_tensors(expected, header, what)
        tensors = unpacked(read_tensors(folder / WEIGHTS, what, AGAIN))
        shift, scale = tensors.pop("shift"), tensors.pop("scale")
        if not (shift.isfinite().all() and scale.isfinite().all() and (scale > 0).all()):
            raise UnlogitError(f"{what}: its 'shift' and 'scale' must be finite, and 'scale' positive: {AGAIN}")
        classifier = open_classifier(config["classifier"].replace("{folder}", str(folder.resolve())))
        representation = Representation(classifier, config["layer"], shift, scale)
        network.load_state_dict({k.removeprefix(f"{cls.KIND}."): v for k, v in tensors.items()}, assign=True)
        inverter = cls.restore(representation, network, shape, config["facts"], config["name"])
        if (beside := folder / DISCRIMINATOR).exists():
            unpacked_header(read_header(beside, what, FOLDER), what)
            inverter.discriminator = unpacked(read_tensors(beside, what, AGAIN))
        return inverter

    @classmethod
    def _from_pretrained(cls, *, model_id: str, trust_code: bool = False, **options: Any) -> Self:
        hub_options = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        if Path(model_id).is_dir():
            return cls.load(model_id, trust_code)
        if trust_code:
            raise UnlogitError(
                f"inverter '{model_id}': nothing from the Hub may run code; download it, read it, and open its folder"
            )
        folder = download(model_id, **{k: v for k, v in options.items() if k in hub_options})
        with named_by(_called(folder), hub=folder.resolve()):
            return cls.load(folder)


def download(name: str, **options: Any) -> Path:
    """Download an inverter from the Hugging Face Hub, without files that hold code, and return its folder.

    Raises `UnlogitError` where no inverter has that name, or the Hub cannot be reached.
    """
    try:
        return Path(snapshot_download(name, allow_patterns=list(PLAIN_FILES), **options))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UnlogitError(
            f"inverter '{name}': no such folder, and not available from the Hugging Face Hub "
            f"({type(error).__name__}: {first_line(error)}): check the name and the connection"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of a saved inverter; raise `UnlogitError` where there is none or any key is wrong."""
    what = _called(folder)
    config = current(read_json(folder / CONFIG, what, FOLDER))
    if isinstance(facts := config.get("facts"), dict):
        config["facts"] = current(facts)
    if config.get("format") != FORMAT:
        raise UnlogitError(f"{what}: format {config.get('format')!r:.40}, this version reads {FORMAT}: {FOLDER}")
    if isinstance(classifier := config.get("classifier"), str):
        check_allowed(classifier)
    what = f"{CONFIG} of {what}"
    required = {"format": int, "name": str, "classifier": str, "layer": str, kind(config): dict[str, Any]}
    check_keys(config, required | {"facts": dict[str, Any]}, {"kind": str}, what)
    # Other facts are only shown, so that their types do not matter.
    facts = {key: value for key, value in config["facts"].items() if key in REQUIRED_FACTS | FACTS}
    check_keys(facts, REQUIRED_FACTS, FACTS, f"'facts' in {what}")
    return config


def kind(config: dict[str, Any]) -> str:
    """Return the kind of a saved inverter; the earliest files have no kind and are generators."""
    return str(config.get("kind", "generator"))


def _called(folder: Path) -> str:
    return f"inverter '{folder}'"


def card(config: dict[str, Any], size: int, network: nn.Module) -> str:
    """Return the model card of a config.json."""
    facts = dict(config["facts"])
    deviations = ", ".join(facts.pop("deviations")) or "none: the paper's single loss alone"
    figures = facts.pop("validation", {})
    source = facts.pop("source", PAPER)
    networks = [f"`{spec}`" for spec in facts.pop("took_part", ())]
    parameters = sum(p.numel() for p in network.parameters())
    bound = config["classifier"].startswith("module:")
    binding = "Its classifier is a torch module that is not in this folder: `open_inverter(FOLDER, classifier=module)`."
    lines = [
        "---",
        "library_name: unlogit",
        "tags: [feature-inversion, interpretability]",
        "---",
        f"# {config['name']}",
        "",
        f"Reconstructs {size} px images from the {config['layer']} of `{config['classifier']}` "
        f"({parameters:,} parameters).",
        *([binding] if bound else []),
        f"Method: {source}, as implemented by unlogit.",
        f"Deviations beside the paper's loss: {deviations}.",
        *([f"Classifiers that took part in training: {', '.join(networks)}."] if networks else []),
        "",
        *(f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items()),
    ]
    if figures:
        lines += [
            "",
            "| validation metric | value |",
            "| --- | --- |",
            *(f"| {k} | {v:.4g} |" for k, v in figures.items()),
        ]
    return "\n".join(lines) + "\n"
