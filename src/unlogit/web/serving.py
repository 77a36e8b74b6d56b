"""Where a page listens, which hosts it answers to, and which proxy it believes: the same for explorer and study."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from unlogit.errors import UnlogitError
from unlogit.settings import Checked, Port

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOOPBACK = ("localhost", "127.0.0.1", "::1")
NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")


@dataclass(frozen=True)
class ServerOptions(Checked):
    """Options of a server."""

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 accepts connections from every machine that can reach this one."""
    port: Port = 8000
    """Port to listen on, 1 to 65535."""
    public_host: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Further host name or address under which visitors reach the page, such as study.example.org. Can be given several
    times. Requests for hosts other than these, --host and localhost are refused."""
    trusted_proxy: str | None = None
    """Address or network of a reverse proxy, such as 127.0.0.1, whose X-Forwarded-For and X-Forwarded-Proto headers are
    trusted. Headers from any other address are ignored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.public_host:
            if not (NAME.fullmatch(name.lower()) or _address(name)):
                raise UnlogitError(f"--public-host '{name}': must be a name or an address, such as study.example.org")
        if self.trusted_proxy is not None:
            try:
                ipaddress.ip_network(self.trusted_proxy)
            except ValueError as error:
                raise UnlogitError(
                    f"--trusted-proxy '{self.trusted_proxy}': must be an address or a network, such as 127.0.0.1"
                ) from error

    @property
    def url(self) -> str:
        """Address of the page for a browser on this machine."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """Names and addresses that the server answers to, in small letters."""
        return frozenset(name.lower().strip("[]") for name in (*LOOPBACK, self.host, *self.public_host))

    @property
    def is_wildcard(self) -> bool:
        """Whether the server listens on every address of this machine."""
        address = _address(self.host)
        return address is not None and address.is_unspecified


def listen(options: ServerOptions) -> socket.socket:
    """Return a listening socket; call it before anything is loaded, so that a port in use is reported at once.

    Raises:
        UnlogitError: the address is unknown or the port is in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        # The socket's own words repeat the address; a name that cannot be resolved has a negative number.
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
        raise UnlogitError(
            f"cannot listen on {options.host}, port {options.port} ({reason}): "
            "stop the program that uses the port, or give another --port or --host"
        ) from error


def serve(app: ASGIApp, options: ServerOptions, listening: socket.socket) -> None:
    """Serve an application on a listening socket until interrupted."""
    import uvicorn

    from unlogit.web.guard import Hosts

    config = uvicorn.Config(
        Hosts(app, options.hosts, any_address=options.is_wildcard),
        log_level="warning",
        access_log=False,  # It would hold visitors' addresses.
        server_header=False,
        ws="none",
        proxy_headers=options.trusted_proxy is not None,
        forwarded_allow_ips=options.trusted_proxy or "",
    )
    with suppress(KeyboardInterrupt):  # It has shut down in order.
        uvicorn.Server(config).run(sockets=[listening])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
