"""Explorers of small inverters of random weights, and their server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from unlogit.classifiers import open_classifier
from unlogit.images import Loader, View, open_images
from unlogit.methods import GeneratorInverter, open_inverter
from unlogit.methods.biggan.config import GeneratorConfig
from unlogit.methods.biggan.generator import Generator
from unlogit.representation import Representation
from unlogit.web.explorer.answer import Explorer
from unlogit.web.explorer.gallery import Gallery

SIZE = 32
IMAGES = "scenes:test,count=20"


@pytest.fixture(scope="session")
def saved_inverters(tiny_classifier_spec: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of two inverters of logits and one of the penultimate layer, by name."""
    folder = tmp_path_factory.mktemp("explored")
    classifier = open_classifier(tiny_classifier_spec)
    found = {}
    for seed, (name, layer) in enumerate({"first": "logits", "second": "logits", "layer": "penultimate"}.items()):
        few = Loader(open_images("scenes:count=64"), View(SIZE), 64, seed=0).once()
        representation = Representation(classifier, layer).fit(batch.images for batch in few)
        torch.manual_seed(seed)
        generator = Generator(representation.dim, GeneratorConfig(SIZE, channels=4, noise=8, attention=None))
        for parameter in generator.parameters():  # So that an untrained one answers to what it is given.
            torch.nn.init.normal_(parameter, std=0.2)
        GeneratorInverter(representation, generator, {"deviations": []}, name).save(folder / name)
        found[name] = str(folder / name)
    return found


@pytest.fixture(scope="session")
def explorer(saved_inverters: dict[str, str]) -> Explorer:
    """All three, over the photographs and some scenes."""
    opened = {name: open_inverter(folder) for name, folder in saved_inverters.items()}
    return Explorer(opened, Gallery([SIZE], open_images(IMAGES)))


@dataclass(frozen=True)
class Served:
    """A server in a process of its own; `files` is where whatever it keeps on disk would be."""

    url: str
    files: Path


@pytest.fixture(scope="session")
def served(saved_inverters: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`unlogit explore` of all three."""
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    files = folder / "tmp"
    files.mkdir()
    command = [sys.executable, "-m", "unlogit.cli", "explore", *saved_inverters.values(), "--images", IMAGES]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=log, stderr=log, env=os.environ | {"TMPDIR": str(files)}
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                with urllib.request.urlopen(url, timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield Served(url, files)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(files)
