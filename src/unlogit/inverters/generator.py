"""The paper's inverter: a generator that was trained against a discriminator, conditioned on the representation.

Teterwak, Zhang, Krishnan and Mozer, "Understanding Invariance via Feedforward Inversion of Discriminatively Trained
Classifiers", ICML 2021. With the tap "label" the same network is the label-only floor.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unlogit.classifiers import open_classifier
from unlogit.errors import UnlogitError
from unlogit.files import replacing
from unlogit.inverters._base import Inverter
from unlogit.networks import Generator, GeneratorConfig
from unlogit.representation import Representation

FORMAT = 1


class GeneratorInverter(Inverter, ModelHubMixin):
    """A trained generator with the representation that it inverts.

    Args:
        facts: how it was made, kept in config.json for the model card: at least "aids".
    """

    def __init__(
        self, representation: Representation, generator: Generator, facts: dict[str, Any], name: str = "generator"
    ) -> None:
        super().__init__()
        self.name = name
        self.representation = representation
        self.generator = generator.eval().requires_grad_(False)
        self.facts = facts
        self.size = generator.config.size
        self.aids = tuple(facts["aids"])

    def sample_noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """N(0, 1), n x `noise`."""
        return torch.randn(n, self.generator.config.noise, generator=generator)

    @torch.no_grad()
    def invert(self, raw: Tensor, noise: Tensor | None = None) -> Tensor:
        if raw.ndim != 2 or raw.shape[1] != self.representation.dim:
            raise UnlogitError(
                f"representation of shape {tuple(raw.shape)}: this inverter reads N x {self.representation.dim} "
                f"({self.representation.tap} of {self.representation.classifier.spec})"
            )
        noise = self.sample_noise(len(raw)) if noise is None else noise
        return self.generator(self.representation.standardise(raw), noise.to(raw.device))

    def save(self, folder: Path | str, dtype: torch.dtype = torch.float32) -> None:
        """Write config.json, model.safetensors and README.md (the model card) in one step that cannot be half done."""
        with replacing(Path(folder), folder=True) as fresh:
            self._save_pretrained(fresh, dtype)

    def _save_pretrained(self, save_directory: Path, dtype: torch.dtype = torch.float32) -> None:
        config = {
            "format": FORMAT,
            "name": self.name,
            "classifier": self.representation.classifier.spec,
            "tap": self.representation.tap,
            "generator": dataclasses.asdict(self.generator.config),
            "facts": self.facts,
        }
        tensors = {f"generator.{k}": v for k, v in self.generator.state_dict().items()}
        tensors |= {"shift": self.representation.shift, "scale": self.representation.scale}
        tensors = {k: v.detach().cpu().contiguous().to(dtype) for k, v in tensors.items()}
        (save_directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(tensors, save_directory / "model.safetensors")
        (save_directory / "README.md").write_text(card(config, sum(p.numel() for p in self.generator.parameters())))

    @classmethod
    def load(cls, folder: Path | str) -> GeneratorInverter:
        """Open a folder that `save` wrote; raises `UnlogitError` where it is not one or is damaged."""
        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_text())
            tensors = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
        except FileNotFoundError as error:
            raise UnlogitError(
                f"inverter '{folder}': {Path(error.filename or '').name or error} is missing; an inverter is a folder "
                "with config.json and model.safetensors, as 'unlogit train' writes into RUN/inverter"
            ) from error
        except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UnlogitError(f"inverter '{folder}' is damaged ({error}): copy or train it again") from error
        if config.get("format") != FORMAT:
            raise UnlogitError(f"inverter '{folder}': format {config.get('format')}, this version reads {FORMAT}")
        representation = Representation(
            open_classifier(config["classifier"]), config["tap"], tensors.pop("shift"), tensors.pop("scale")
        )
        generator = Generator(representation.dim, GeneratorConfig(**config["generator"]))
        weights = {k.removeprefix("generator."): v for k, v in tensors.items()}
        try:
            generator.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UnlogitError(f"inverter '{folder}': weights do not fit its config.json ({reason})") from error
        return cls(representation, generator, config["facts"], config["name"])

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> GeneratorInverter:
        known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        folder = model_id
        if not Path(model_id).is_dir():
            folder = snapshot_download(model_id, **{k: v for k, v in options.items() if k in known})
        return cls.load(folder)


def card(config: dict[str, Any], parameters: int) -> str:
    """The model card, from what config.json says."""
    facts = dict(config["facts"])
    aids = ", ".join(facts.pop("aids")) or "none: the paper's single loss alone"
    figures = facts.pop("validation", {})
    lines = [
        "---",
        "library_name: unlogit",
        "tags: [feature-inversion, interpretability]",
        "---",
        f"# {config['name']}",
        "",
        f"Reconstructs {config['generator']['size']} px pictures from the {config['tap']} of `{config['classifier']}` "
        f"({parameters:,} parameters).",
        "Method: Teterwak et al., ICML 2021, as implemented by unlogit.",
        f"Aids beside the paper's loss: {aids}.",
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
