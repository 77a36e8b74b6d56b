"""`unlogit explore`: open inverters and serve the page."""

from __future__ import annotations

import os
from dataclasses import dataclass

import tyro

from unlogit.errors import UnlogitError
from unlogit.images import open_images
from unlogit.inverters import called, known, open_inverter
from unlogit.registry import needed


@dataclass(frozen=True)
class ExploreConfig:
    """Change what a classifier says of a picture, in the browser, and see what that stands for."""

    inverters: tyro.conf.Positional[tuple[str, ...]] = ()
    """Each as [NAME=]INVERTER, such as RUN/inverter; without any, those that come with unlogit."""
    images: str | None = None
    """Pictures to pick from beside the photographs that come with unlogit, as source:name."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets everyone in who can reach this machine."""
    port: int = 7860
    """Port to listen on."""
    trust_code: bool = False
    """Let the folders that are opened name classifiers that run code (python:). What is named here itself always may.
    """

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise UnlogitError(f"port {self.port}: must be 1 to 65535")

    def specs(self) -> dict[str, str]:
        """By the name to show, what each inverter is opened by; raises `UnlogitError` where there is none."""
        if not (self.inverters or known()):
            raise UnlogitError(
                "no inverter given, and none came with this package: give one, such as RUN/inverter, which "
                "'unlogit train' writes, or a method that needs no training (see: unlogit list methods)"
            )
        pairs = [called(given) for given in self.inverters or known()]
        if len(found := dict(pairs)) < len(pairs):
            names = ", ".join(name for name, _ in pairs)
            raise UnlogitError(f"inverters {names}: names must differ; write NAME=INVERTER")
        return found


def explore(config: ExploreConfig) -> None:
    """Serve the page until interrupted."""
    specs = config.specs()
    inverters = {name: open_inverter(spec, config.trust_code) for name, spec in specs.items()}
    source = open_images(config.images) if config.images else None
    # Before Gradio is imported: it asks its makers for the newest version otherwise, and others for telemetry.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "False"
    needed("gradio", "explore", "unlogit explore")
    import uvicorn

    from unlogit.explorer.answer import Explorer
    from unlogit.explorer.gallery import Gallery
    from unlogit.explorer.server import create_app

    app = create_app(Explorer(inverters, Gallery([i.size for i in inverters.values()], source)), specs)
    host = f"[{config.host}]" if ":" in config.host else config.host
    print(f"{', '.join(specs)}: http://{host}:{config.port}", flush=True)
    uvicorn.run(app, host=config.host, port=config.port, log_level="warning", access_log=False, server_header=False)
