"""Ports, host names and proxies of the page servers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from unlogit import cli
from unlogit.errors import UnlogitError
from unlogit.web.explorer import command
from unlogit.web.guard import Hosts, client_key, hide_folders, host_of
from unlogit.web.serving import ServerOptions, listen


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of the loopback that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_a_port_in_use_is_reported_before_anything_is_loaded(
    taken_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(command, "open_inverter", never)
    missing = str(tmp_path / "missing.sqlite")
    for args in (["explore", "anything"], ["study", "serve", "--database", missing]):
        assert cli.main([*args, "--port", str(taken_port)]) == 2
        said = capsys.readouterr().err
        assert f"port {taken_port}" in said and "in use" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"port": 0}, "port 0: must be at least 1"),
        ({"public_host": ("a/b",)}, "--public-host 'a/b'"),
        ({"public_host": ("*",)}, "--public-host"),
        ({"trusted_proxy": "*"}, "--trusted-proxy"),
        ({"trusted_proxy": "proxy.example.org"}, "--trusted-proxy"),
    ],
)
def test_options_that_are_not_allowed(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UnlogitError, match=says.replace("*", r"\*")):
        ServerOptions(**options)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 70])
def test_an_address_that_is_not_this_machine_s_is_one_line(host: str) -> None:
    with pytest.raises(UnlogitError, match=f"cannot listen on {host}"):
        listen(ServerOptions(host=host, port=65000))


def client(options: ServerOptions) -> TestClient:
    app = FastAPI()

    @app.api_route("/", methods=["GET", "POST"])
    def root(request: Request) -> dict[str, str]:
        return {name: value for name, value in request.headers.items() if "forwarded" in name}

    return TestClient(Hosts(app, options.hosts, any_address=options.is_wildcard))


@pytest.mark.parametrize(
    ("host", "options", "status"),
    [
        ("127.0.0.1:8000", {}, 200),
        ("LOCALHOST:1", {}, 200),
        ("[::1]:8000", {}, 200),
        ("evil.example", {}, 421),
        ("localhost.evil.example", {}, 421),
        ("localhost@evil.example", {}, 421),
        ("10.1.2.3", {}, 421),
        ("", {}, 421),
        ("study.example.org", {"public_host": ("Study.example.org",)}, 200),
        ("evil.example", {"public_host": ("study.example.org",)}, 421),
        ("10.1.2.3:8000", {"host": "10.1.2.3"}, 200),
        ("10.1.2.3:8000", {"host": "0.0.0.0"}, 200),
        ("[fe80::1]:8000", {"host": "::"}, 200),
        ("evil.example", {"host": "0.0.0.0"}, 421),
    ],
)
def test_only_known_hosts_are_answered(host: str, options: dict[str, Any], status: int) -> None:
    response = client(ServerOptions(**options)).get("/", headers={"host": host})
    assert response.status_code == status
    assert status == 200 or "--public-host" in response.text


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost:8000", 200),
        ("http://127.0.0.1:8000", 200),
        ("https://evil.example", 403),
        ("http://6.6.6.6", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_sites_change_nothing(origin: str | None, status: int) -> None:
    headers = {"host": "localhost:8000"} | ({"origin": origin} if origin else {})
    one = client(ServerOptions(host="0.0.0.0"))
    assert one.post("/", headers=headers).status_code == status
    assert one.get("/", headers=headers).status_code == 200


def test_what_a_proxy_says_reaches_no_application() -> None:
    headers = {"host": "localhost", "x-forwarded-host": "evil.example", "forwarded": "for=1.2.3.4"}
    assert client(ServerOptions()).get("/", headers=headers).json() == {}


def test_a_visitor_of_ipv6_is_a_network() -> None:
    def key(host: str) -> str:
        return client_key({"client": (host, 1)})

    assert key("2001:db8::1") == key("2001:db8::ffff:1") != key("2001:db8:0:1::1")
    assert key("::ffff:192.0.2.1") == key("192.0.2.1") != key("192.0.2.2")
    assert key("testclient") == "testclient" and client_key({}) == ""


@pytest.mark.parametrize(
    ("netloc", "host"),
    [("a.b:80", "a.b"), ("[::1]:9", "::1"), ("a:x", None), ("u@a", None), ("a/b", None), ("a?b", None), ("[::1", None)],
)
def test_host_of(netloc: str, host: str | None) -> None:
    assert host_of(netloc) == host


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("small:/data/a/tiny", "small:tiny"),
        ("folder:/a b/c d/e", "folder:e"),
        ("folder://data/x", "folder:x"),
        ("file:///data/x", "file:x"),
        ("nearest:logits?images=folder:%2Fdata%2Fx", "nearest:logits?images=folder:x"),
        ("'/a/b.png': broken", "'b.png': broken"),
        ("/a//b/c.png: broken", "c.png: broken"),
        (r"C:\Users\me\x", "x"),
        ("/data/run/", "run/"),
        ("hf:owner/name", "hf:owner/name"),
        ("https://host/x/y.tar", "https://host/x/y.tar"),
        ("epsilon 8/255, 1 / 2", "epsilon 8/255, 1 / 2"),
        ("runs/a/inverter", "runs/a/inverter"),
    ],
)
def test_folders_of_this_machine_are_hidden(text: str, hidden: str) -> None:
    assert hide_folders(text) == hidden
