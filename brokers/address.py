"""Where events come from and go to: `nats://host:port/subject`, `kafka://host:port/topic`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote, urlsplit

from anabranch.errors import ConfigurationError

PORTS: Final = {"nats": 4222, "kafka": 9092, "kafka+ssl": 9093}
_TOPICS: Final = {
    "nats": re.compile(r"[^\s.*>\x00-\x1f\x7f]+(\.[^\s.*>\x00-\x1f\x7f]+)*"),
    "kafka": re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}"),
}


@dataclass(frozen=True, slots=True)
class Address:
    """A topic of a broker; `servers` are `host:port`. Its text does not show the password."""

    scheme: str
    servers: tuple[str, ...]
    topic: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{','.join(self.servers)}/{self.topic}".removesuffix("/")

    @property
    def broker(self) -> str:
        """The broker's kind: `nats` or `kafka`."""
        return self.scheme.partition("+")[0]


def parse_address(url: str, option: str) -> Address:
    """The address of a URL with one or several `host[:port]`. Raises ConfigurationError naming the option."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in PORTS:
        raise _wrong(option, f"is not a {' or '.join(f'{name}://' for name in PORTS)} URL")
    hosts, _, topic = rest.partition("/")
    credentials, _, hosts = hosts.rpartition("@")
    user, colon, password = credentials.partition(":")
    return Address(
        scheme,
        tuple(_server(host, PORTS[scheme], option) for host in hosts.split(",")),
        check_topic(scheme, unquote(topic), option),
        unquote(user) or None,
        unquote(password) if colon else None,
    )


def parse_broker(url: str, variable: str) -> Address:
    """A broker without a topic, which the variable names. Raises ConfigurationError, which does not repeat the URL."""
    scheme, _, rest = url.partition("://")
    hosts, _, topic = rest.partition("/")
    if topic:
        raise ConfigurationError("the URL names a topic, which each node does itself", place=variable)
    named = parse_address(f"{scheme}://{hosts}/topic", variable)
    return replace(named, topic="")


def check_topic(scheme: str, topic: str, option: str) -> str:
    """The topic itself. Raises ConfigurationError naming the option."""
    if not _TOPICS[scheme.partition("+")[0]].fullmatch(topic):
        raise _wrong(option, f"names no topic: {topic[:100]!r}")
    return topic


def _server(host: str, default_port: int, option: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port or default_port
    except ValueError:
        raise _wrong(option, "has a port that is not a number") from None
    if not parts.hostname:
        raise _wrong(option, "names no host")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{name}:{port}"


def _wrong(option: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the address {what}",
        place=option,
        suggestion="it looks like nats://host:4222/orders, kafka://host:9092/orders",
    )
