"""What stands between a page's server and whoever can reach it: headers, and limits on size and rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import HTTPException
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
                given = {name.lower() for name, _ in message["headers"]}
                kept = [] if b"cache-control" in given else [(b"cache-control", b"no-store")]
                message["headers"] = [*message["headers"], *self.headers, *kept]
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
