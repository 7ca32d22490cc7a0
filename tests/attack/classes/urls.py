"""URLs of `http` nodes that lead inside: spellings of addresses, names that resolve to them or change, redirects.

Every connection that the activity asks for is recorded below the check. None may go to an address that is not public.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from unittest import mock

import httpcore2

from anabranch.activities.http.handler import HttpActivity
from anabranch.errors import AnabranchError
from anabranch.graph.model import HttpNode
from tests.attack.attack import Attack, Tally
from tests.node_tasks import task_of

_INSIDE = (
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1", "64:ff9b:1::1"),
)
_NETWORKS = [
    ipaddress.ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        *("2001:db8::/32", "64:ff9b:1::/48"),
    )
]
"""What is not public, by the registries of IANA: the judge does not ask the code that it judges."""
_NAMES = ("localhost", "LOCALHOST", "localhost.", "foo.localhost", "ip6-localhost", "inside.example", "turns.example")
_PUBLIC = "93.184.216.34"
_FORMS = (
    "http://{0}/",
    "https://{0}/",
    "http://{0}:80/",
    "http://user:pass@{0}/",
    "http://public.example@{0}/",
    "http://{0}#@public.example/",
    "http://{0}\\@public.example/",
    "http://public.example:80@{0}:8080/",
    "http://{0}./",
    "http:////{0}/",
    "http:/{0}/",
    "http:{0}/",
    " http://{0}/",
    "http://{0}%00.public.example/",
    "http://{0}%2f@public.example/",
    "http://{0}\t/",
    "http://{0}\r\nHost: x/",
    "HTTP://{0}/",
    "http://[{0}]/",
    "http://[::ffff:{0}]/",
    "http://[::{0}]/",
    "http://[64:ff9b::{0}]/",
    "http://[{0}%25eth0]/",
    "ftp://{0}/",
    "file://{0}/etc/passwd",
    "gopher://{0}:70/_x",
    "unix:///var/run/docker.sock",
    "//{0}/",
    "javascript:{0}",
    "http+unix://{0}/",
)

_SYSTEM = socket.getaddrinfo


class Network:
    """Stands below the check: resolves names, and records who is to be connected."""

    def __init__(self) -> None:
        self.connected: list[str] = []
        self.turns = 0

    async def connect(self, host: str, *_others: Any, **_named: Any) -> Any:
        """Refuse, after noting it."""
        self.connected.append(host)
        raise httpcore2.ConnectError("refused")

    def resolve(self, host: str | bytes, port: int, *_others: Any, **_named: Any) -> list[Any]:
        """Answer as a resolver that is the attacker's; what is an address, as the system does."""
        name = host.decode(errors="replace") if isinstance(host, bytes) else host
        with suppress(OSError, UnicodeError):
            return _SYSTEM(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        if name.rstrip(".").endswith("turns.example"):
            self.turns += 1
            return [self._entry(_PUBLIC if self.turns % 2 else "127.0.0.1", port)]
        if name.rstrip(".").endswith("public.example"):
            return [self._entry(_PUBLIC, port)]
        return [self._entry(inside, port) for inside in ("127.0.0.1", "::1", "169.254.169.254")]

    def _entry(self, address: str, port: int) -> Any:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return family, socket.SOCK_STREAM, 6, "", (address, port)


async def run(tally: Tally, numbers: range) -> None:
    """Call the URLs with these numbers, and judge where the connections went."""
    network, activity = Network(), HttpActivity(environ={})
    known = list(_known())
    with (
        mock.patch.object(httpcore2.AnyIOBackend, "connect_tcp", network.connect),
        mock.patch.object(socket, "getaddrinfo", network.resolve),
    ):
        for number in numbers:
            url = known[number] if number < len(known) else _generated(tally.rng)
            refused = await _call(activity, url)
            tally.judge(f"{number} {url!r}", inside(network.connected), refused=refused)
            network.connected.clear()
        trusting = HttpActivity(allow_private=True, environ={})
        await _call(trusting, "http://169.254.169.254/")
        tally.control("a client that may go anywhere", seen=inside(network.connected) is not None)
        network.connected.clear()
        await _call(activity, "http://public.example/")
        tally.control("a public host is connected", seen=network.connected == [_PUBLIC])
        await trusting.aclose()
    await activity.aclose()
    await _redirects(tally)


def inside(addresses: list[str]) -> str | None:
    """Which connection went where none may go."""
    for address in addresses:
        ip = _bare(ipaddress.ip_address(address.partition("%")[0]))
        if any(ip in network for network in _NETWORKS if network.version == ip.version):
            return f"it connects to {address}"
    return None


def _bare(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address wraps, or itself."""
    if ip.version == 4:
        return ip
    number = int(ip)
    if number >> 32 in (0xFFFF, 0x64FF9B << 64):  # mapped, NAT64
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if number >> 112 == 0x2002:  # 6to4
        return ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF)
    return ip


def _known() -> Iterator[str]:
    for address in _INSIDE:
        for host in _spellings(address):
            yield f"http://{host}/"
    for name in _NAMES:
        yield from (form.format(name) for form in _FORMS)


def _spellings(address: str) -> Iterator[str]:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        yield from (f"[{ip}]", f"[{ip.exploded}]", f"[{ip}%25lo]", f"[{str(ip).upper()}]")
        return
    number, parts = int(ip), address.split(".")
    first, *rest = (int(part) for part in parts)
    yield from (address, str(number), hex(number), oct(number).replace("o", ""), address + ".")
    yield ".".join(hex(int(part)) for part in parts)
    yield ".".join(f"0{int(part):o}" for part in parts)
    yield f"{first}.{rest[0] << 16 | rest[1] << 8 | rest[2]}"
    yield address.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    yield address.translate({ord("0") + digit: 0x245F + digit for digit in range(1, 10)})
    yield address.replace(".", "\u3002")
    yield f"[::ffff:{address}]"
    yield f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]"
    yield f"[64:ff9b::{address}]"
    yield f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]"
    yield "%" + "%".join(f"{ord(character):02x}" for character in address)


def _generated(rng: random.Random) -> str:
    address = rng.choice(_INSIDE)
    host = rng.choice([*list(_spellings(address)), *_NAMES])
    return rng.choice(_FORMS).format(host)


async def _call(activity: HttpActivity, url: str) -> bool:
    """Send the request; whether it was refused by an error of ours, and by which other one it was not."""
    try:
        await activity(task_of(data={"url": url}), HttpNode(type="http", method="GET", url="{{ url }}"))
    except AnabranchError:
        return True
    return False


async def _redirects(tally: Tally) -> None:
    """A server that may be called answers with a redirect to one that may not: it is an answer, not followed."""
    called: list[str] = []
    async with _redirecting(called) as origin:
        activity = HttpActivity(allow_private=True, environ={})
        for status in (300, 301, 302, 303, 304, 305, 307, 308):
            called.clear()
            refused = await _call(activity, f"{origin}/{status}")
            wrong = f"it was followed: {called}" if called != [f"/{status}"] else None
            tally.judge(f"a redirect with {status}", wrong, refused=refused)
        await activity.aclose()


@asynccontextmanager
async def _redirecting(called: list[str]) -> AsyncGenerator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        called.append(path)
        port = writer.get_extra_info("sockname")[1]
        status = path.strip("/") if path.strip("/").isdigit() else "200"
        there = f"http://127.0.0.1:{port}/inside"
        head = f"HTTP/1.1 {status} Moved\r\nLocation: {there}\r\nRefresh: 0;url={there}\r\nContent-Length: 0\r\n"
        writer.write((head + "Connection: close\r\n\r\n").encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


URLS = Attack("urls", run, small=800, release=6_000, chunk=3_000)
