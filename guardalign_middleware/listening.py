"""The socket of a server: bound before anything is loaded, and named in words."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from guardalign_middleware.errors import ConfigError


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address, which does not listen yet.

    Models load between this and the listening: a port that is taken is reported at once, and no
    request arrives before it can be answered.

    Raises:
        ConfigError: there is no such address, or it is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}.",
            remedy="Choose another --host or --port.",
        ) from error
    return bound


def url_of(bound: socket.socket) -> str:
    """The address of a server as a URL."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def host_in(url: str) -> str:
    """The host of a URL, such as an Origin header; empty if there is none or it cannot be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a lone bracket, say
        return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
