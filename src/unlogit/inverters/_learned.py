"""Inverters that were trained: saved to a folder or the Hugging Face Hub and opened again, whatever the network."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from huggingface_hub import ModelHubMixin, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unlogit.classifiers import open_classifier
from unlogit.classifiers.fitted import lineage
from unlogit.errors import UnlogitError
from unlogit.files import check_replaceable, holding, replacing, to_json
from unlogit.inverters._base import Inverter
from unlogit.inverters._packing import packed, unpacked
from unlogit.representation import Representation

CONFIG, CARD = "config.json", "README.md"
WEIGHTS, DISCRIMINATOR = "model.safetensors", "discriminator.safetensors"
FORMAT = 1
SAVED = holding(CONFIG, ("format", "classifier", "tap", "facts"), lambda _: (WEIGHTS, DISCRIMINATOR, CARD))
"""Recognises the folder of a saved inverter, which may be replaced."""
PAPER = "Teterwak et al., ICML 2021"


class LearnedInverter(Inverter, ModelHubMixin):
    """A trained network with the representation that it inverts.

    A folder of one holds config.json, model.safetensors and README.md, the model card; also discriminator.safetensors
    where there is a discriminator to go on training with.

    Args:
        facts: how it was made, kept in config.json for the model card: at least "aids"; "source" is the method's
            paper, where it is not this project's; "took_part" the classifiers that training used, by spec the
            fingerprint of their weights.

    Attributes:
        KIND: the module of this package, which is also what the network is called in the folder.
        discriminator: weights of the discriminator that the network was trained against, by name; may be empty.
    """

    KIND: ClassVar[str]

    def __init__(self, representation: Representation, network: nn.Module, size: int, facts: dict[str, Any], name: str):
        super().__init__()
        self.name = name
        self.representation = representation
        self.network = network.eval().requires_grad_(False)
        self.facts = facts
        self.size = size
        self.aids = tuple(facts["aids"])
        self.discriminator: dict[str, Tensor] = {}

    def took_part(self) -> dict[str, str | None]:
        """Return also the frozen networks that trained it, as far as its facts say."""
        saved = self.facts.get("took_part", {})
        return {start: None for spec in saved for start in lineage(spec)} | saved | super().took_part()

    @abstractmethod
    def shape(self) -> dict[str, Any]:
        """What `build` makes the same network of, JSON values only."""

    @classmethod
    @abstractmethod
    def build(cls, representation: Representation, shape: dict[str, Any], facts: dict[str, Any], name: str) -> Self:
        """An inverter of this kind whose weights are still to be read."""

    def save(self, folder: Path | str, bits: int | None = None) -> None:
        """Write config.json, model.safetensors and README.md (the model card) in one step that cannot be half done.

        Args:
            folder: where; a saved inverter that is there is replaced, anything else is an `UnlogitError`.
            bits: of a weight, 2 to 8, each in a byte: a quarter of the size, and what fewer than eight leave unused is
                gone once compressed, as by git. With eight pictures differ by about a third of a level in 255, with six
                by one or two. None keeps float32.
        """
        if bits is not None and not 2 <= bits <= 8:
            raise UnlogitError(f"bits {bits}: must be 2 to 8, or None for float32")
        with replacing(Path(folder), SAVED, folder=True) as fresh:
            self._save_pretrained(fresh, bits)

    def save_pretrained(self, save_directory: Path | str, **options: Any) -> str | None:
        """As `save`, with the options of huggingface_hub's `ModelHubMixin`."""
        check_replaceable(Path(save_directory), SAVED, folder=True)
        return super().save_pretrained(save_directory, **options)

    def _save_pretrained(self, save_directory: Path, bits: int | None = None) -> None:
        config = {
            "format": FORMAT,
            "kind": self.KIND,
            "name": self.name,
            "classifier": self.representation.classifier.spec,
            "tap": self.representation.tap,
            self.KIND: self.shape(),
            "facts": self.facts,
        }
        tensors = {f"{self.KIND}.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {"shift": self.representation.shift, "scale": self.representation.scale}
        (save_directory / CONFIG).write_text(to_json(config, indent=2) + "\n")
        for file, saved in ((WEIGHTS, tensors), (DISCRIMINATOR, self.discriminator)):
            if saved:
                plain = {k: v.detach().cpu().float().contiguous() for k, v in saved.items()}
                save_file(plain if bits is None else packed(plain, bits), save_directory / file)
                (save_directory / file).chmod(0o644)  # Its library writes for the owner alone; this is to be shared.
        (save_directory / CARD).write_text(card(config, self.size, self.network))

    @classmethod
    def load(cls, folder: Path | str, run_code: bool = True) -> Self:
        """Open a folder that `save` wrote; raises `UnlogitError` where it is not one or is damaged.

        `{folder}` in config.json's classifier stands for the folder, so that one can be shared with its classifier.

        Args:
            folder: where.
            run_code: whether its classifier may be one of `python:`, which runs code that the folder names.
        """
        folder = Path(folder)
        config = read_config(folder)
        if kind(config) != cls.KIND:
            raise UnlogitError(f"inverter '{folder}' is a {kind(config)}, not a {cls.KIND}: give the folder alone")
        spec = config["classifier"].replace("{folder}", str(folder.resolve()))
        if spec.startswith("python:") and not run_code:
            raise UnlogitError(
                f"inverter '{folder}' runs code of its own ('{spec}'): read it, then open it by that path"
            )
        try:
            tensors = unpacked(load_file(folder / WEIGHTS))
            beside = folder / DISCRIMINATOR
            discriminator = unpacked(load_file(beside)) if beside.exists() else {}
        except FileNotFoundError as error:
            raise _missing(folder, WEIGHTS) from error
        except SafetensorError as error:
            raise _damaged(folder, error) from error
        representation = Representation(
            open_classifier(spec), config["tap"], tensors.pop("shift"), tensors.pop("scale")
        )
        inverter = cls.build(representation, config[cls.KIND], config["facts"], config["name"])
        weights = {k.removeprefix(f"{cls.KIND}."): v for k, v in tensors.items()}
        try:
            inverter.network.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UnlogitError(f"inverter '{folder}': weights do not fit its config.json ({reason})") from error
        inverter.discriminator = discriminator
        return inverter

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        if Path(model_id).is_dir():
            return cls.load(model_id)
        folder = snapshot_download(model_id, **{k: v for k, v in options.items() if k in known})
        return cls.load(folder, run_code=False)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a saved inverter; raises `UnlogitError` where there is none or it is another's."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except FileNotFoundError as error:
        raise _missing(folder, "config.json") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(folder, error) from error
    if config.get("format") != FORMAT:
        raise UnlogitError(f"inverter '{folder}': format {config.get('format')}, this version reads {FORMAT}")
    return config


def kind(config: dict[str, Any]) -> str:
    """The module of this package that reads a saved inverter; the first ones, which do not say, were generators."""
    return str(config.get("kind", "generator"))


def _missing(folder: Path, file: str) -> UnlogitError:
    return UnlogitError(
        f"inverter '{folder}': {file} is missing; an inverter is a folder with config.json and model.safetensors, "
        "as 'unlogit train' writes into RUN/inverter"
    )


def _damaged(folder: Path, error: Exception) -> UnlogitError:
    return UnlogitError(f"inverter '{folder}' is damaged ({error}): copy or train it again")


def card(config: dict[str, Any], size: int, network: nn.Module) -> str:
    """The model card, from what config.json says."""
    facts = dict(config["facts"])
    aids = ", ".join(facts.pop("aids")) or "none: the paper's single loss alone"
    figures = facts.pop("validation", {})
    source = facts.pop("source", PAPER)
    networks = [f"`{spec}`" for spec in facts.pop("took_part", ())]
    parameters = sum(p.numel() for p in network.parameters())
    lines = [
        "---",
        "library_name: unlogit",
        "tags: [feature-inversion, interpretability]",
        "---",
        f"# {config['name']}",
        "",
        f"Reconstructs {size} px pictures from the {config['tap']} of `{config['classifier']}` "
        f"({parameters:,} parameters).",
        f"Method: {source}, as implemented by unlogit.",
        f"Aids beside the paper's loss: {aids}.",
        *([f"Classifiers that took part in training: {', '.join(networks)}."] if networks else []),
        "",
        *(f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items()),
    ]
    if figures:
        lines += [
            "",
            "| validation figure | value |",
            "| --- | --- |",
            *(f"| {k} | {v:.4g} |" for k, v in figures.items()),
        ]
    return "\n".join(lines) + "\n"
