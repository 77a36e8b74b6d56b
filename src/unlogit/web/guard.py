"""What stands between a page's server and whoever can reach it: host names, headers, and limits on size and rate."""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KNOWN = 100_000
"""How many addresses and participants a limit keeps in mind; the ones not heard of for longest are forgotten."""

HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
"""Methods that change nothing, which other sites may link to."""
SEPARATOR = r"(?:/|\\|%2[Ff]|%5[Cc])"
FOLDERS = re.compile(
    r"(\b(?:https?|s3|gs|hf|ftp)://\S+)"  # Kept: a URL.
    rf"|(?:(?<![\w.~-])(?:/|%2[Ff])|(?<!\w)[A-Za-z]:{SEPARATOR})(?!\s)"
    rf"(?:[^/\\%:?&,='\"]*{SEPARATOR})*(?=[^/\\:?&,='\"\s])"
)
"""The folders of an absolute path, wherever it stands in a text; not the slashes of OWNER/NAME or 8/255."""


def hide_folders(text: str) -> str:
    """Return `text` with every absolute path of this machine cut to its last part; URLs stay."""
    return FOLDERS.sub(lambda match: match[1] or "", text)


def client_key(scope: Scope) -> str:
    """Return what a visitor counts as in rate limits: the address, or of IPv6 the /64 network, which one person has."""
    host: str = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))


def host_of(netloc: str) -> str | None:
    """Return the host in `name:port` in small letters, without its port and brackets; None where it is malformed."""
    try:
        parts = urlsplit(f"//{netloc}")
        parts.port  # noqa: B018  Raises where it is no number.
    except ValueError:
        return None
    return None if parts.path or parts.query or parts.fragment or "@" in netloc else parts.hostname


class Hosts:
    """ASGI middleware: answers only to requests for a known host, so that no other site's name can be pointed here.

    A site whose name is resolved to this machine (DNS rebinding) would otherwise read everything as its own page. A
    request that changes something must also come from a page of a known host. Headers of proxies are removed: those
    of a trusted one were read before.

    Args:
        allowed: names and addresses, in small letters.
        any_address: also allow every IP address, which cannot be pointed elsewhere.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str], any_address: bool = False) -> None:
        self.app = app
        self.allowed = frozenset(allowed)
        self.any_address = any_address

    def allows(self, netloc: str) -> bool:
        """Whether `name:port` is of a known host."""
        host = host_of(netloc)
        return host is not None and (host in self.allowed or (self.any_address and _is_address(host)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            names = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
            if len(names) != 1 or not self.allows(names[0]):
                refusal = f"host '{', '.join(names)[:80]}' is not served here: start the server with --public-host NAME"
                return await _refuse(421, refusal)(scope, receive, send)
            pages = [origin.partition("://")[2] for origin in origins]
            if scope["method"] not in SAFE_METHODS and not all(
                page == names[0] or host_of(page) in self.allowed for page in pages
            ):
                refusal = f"requests from '{origins[0][:80]}' are refused: start the server with --public-host NAME"
                return await _refuse(403, refusal)(scope, receive, send)
            headers = [(k, v) for k, v in scope["headers"] if k != b"forwarded" and not k.startswith(b"x-forwarded-")]
            scope = {**scope, "headers": headers}
        return await self.app(scope, receive, send)


def _refuse(status: int, message: str) -> PlainTextResponse:
    return PlainTextResponse(message, status, {"x-content-type-options": "nosniff", "cache-control": "no-store"})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware: adds `HEADERS` and a policy to every response and answers 413 to a body that is too long.

    Args:
        policy: the content security policy.
        body_bytes: the longest body that is read.
    """

    def __init__(self, app: ASGIApp, policy: str, body_bytes: int) -> None:
        self.app = app
        self.body_bytes = body_bytes
        self.headers = [(k.encode(), v.encode()) for k, v in {"content-security-policy": policy, **HEADERS}.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.body_bytes:
                raise HTTPException(413, f"body above {self.body_bytes} bytes")
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                caching = [] if b"cache-control" in names else [(b"cache-control", b"no-store")]
                message["headers"] = [*message["headers"], *self.headers, *caching]
            await send(message)

        return await self.app(scope, limited, guarded)


@dataclass(frozen=True)
class Limit:
    """A token bucket.

    Attributes:
        burst: how many at once.
        rate: how many a second in the long run.
    """

    burst: float
    rate: float


class Rates:
    """Counts, by key, against a limit; raises 429 where it is passed, which says when to come back."""

    def __init__(self, limit: Limit, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Count one; raises `HTTPException` 429."""
        moment = self.clock()
        left, then = self._left.pop(key, (self.limit.burst, moment))
        left = min(self.limit.burst, left + (moment - then) * self.limit.rate)
        allowed = left >= 1
        self._left[key] = (left - allowed, moment)
        if len(self._left) > KNOWN:
            self._left.popitem(last=False)
        if not allowed:
            wait = max(1, round((1 - left) / self.limit.rate))
            raise HTTPException(429, "too many requests", {"retry-after": str(wait)})
