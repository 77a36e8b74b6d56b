"""`unlogit explore`: open inverters and serve the page."""

from __future__ import annotations

import os
from dataclasses import dataclass

import tyro

from unlogit.errors import UnlogitError
from unlogit.methods import Sight, called, known, open_inverter
from unlogit.registry import import_optional
from unlogit.runtime.progress import announce, announce_torch
from unlogit.settings import Port
from unlogit.web.serving import ServerOptions, listen, serve


@dataclass(frozen=True)
class ExploreConfig(ServerOptions):
    """Explore reconstructions in the browser: edit the logits of an image and see the reconstruction from them."""

    port: Port = 7860
    """Port to listen on, 1 to 65535."""
    inverters: tyro.conf.Positional[tuple[str, ...]] = ()
    """Inverters, each as INVERTER or NAME=INVERTER: a folder such as RUN/inverter or the name of a packaged inverter.
    Default: all packaged inverters."""
    images: str | None = None
    """Images to choose from, in addition to the packaged sample photos, as source:name. Default: sample photos only."""
    view: Sight = "classifier"
    """Size at which the classifier is given an image: "classifier" is its own input size; "training" is the size of the
    reconstructions, as in training."""
    device: str = "auto"
    """Device to run on: "auto", "cpu", "cuda", "cuda:1" or "mps". "auto" is a CUDA GPU if there is one, else the
    CPU."""
    trust_code: bool = False
    """Allow opened folders to name classifiers that run code (python:). Sources named in the options are always
    allowed."""

    def specs(self) -> dict[str, str]:
        """By the name to show, what each inverter is opened by; raises `UnlogitError` where there is none."""
        if not (self.inverters or known()):
            raise UnlogitError(
                "no inverter given, and no packaged inverters: give one, such as RUN/inverter, which "
                "'unlogit train' writes, or a method that needs no training (see: unlogit list methods)"
            )
        pairs = [called(argument) for argument in self.inverters or known()]
        if len(inverters := dict(pairs)) < len(pairs):
            names = ", ".join(name for name, _ in pairs)
            raise UnlogitError(f"inverters {names}: names must differ; write NAME=INVERTER")
        return inverters


def explore(config: ExploreConfig) -> None:
    """Serve the page until interrupted."""
    specs = config.specs()
    with listen(config) as listening:
        announce_torch()
        from unlogit.images import open_images
        from unlogit.runtime.device import pick_device

        device = pick_device(config.device)
        announce(f"opening the inverters {', '.join(specs)}")
        inverters = {name: open_inverter(spec, config.trust_code).to(device) for name, spec in specs.items()}
        source = open_images(config.images) if config.images else None
        announce("loading the web page")
        # Before Gradio is imported: it asks its makers for the newest version otherwise, and others for telemetry.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "False"
        import_optional("gradio", "explore", "unlogit explore")

        from unlogit.web.explorer.answer import Explorer
        from unlogit.web.explorer.gallery import Gallery
        from unlogit.web.explorer.server import create_app

        gallery = Gallery([i.side(config.view) for i in inverters.values()], source)
        gallery.decoder.start()
        app = create_app(Explorer(inverters, gallery, config.view), specs)
        print(f"{', '.join(specs)}: {config.url}", flush=True)
        serve(app, config, listening)
