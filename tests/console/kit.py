"""A console without a Temporal server, asked in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
from temporalio.client import Client

from anabranch.console.access.access import Access
from anabranch.console.access.tokens import Tokens
from anabranch.console.app import console
from anabranch.console.services import Services
from anabranch.settings import Settings

ORIGIN = "http://127.0.0.1:8234"
OWN = {"Origin": ORIGIN}
ADA = "the-token-of-ada-who-operates"
BO = "the-token-of-bo-who-answers"
CY = "the-token-of-cy-who-looks"
DI = "the-token-of-di-of-the-finance-group"
ED = "the-token-of-ed-of-no-group-at-all"
TOKENS = Tokens.read(
    f"ada:operator:{ADA}, bo:answerer:{BO}, cy:viewer:{CY}, di:answerer+finance:{DI}, ed:answerer+legal:{ED}"
)


class _NoServer:
    """A client of a server that no test here asks."""

    namespace = "default"
    data_converter = None


@asynccontextmanager
async def asking(
    access: Access, settings: Settings | None = None, *, client: Client | None = None, **options: Any
) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of a console's app; without a `client` of one, its server is asked nothing."""
    services = Services.of(client or cast("Client", _NoServer()), settings or Settings())
    app = console(services, access, **options)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        yield http
    await services.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
