"""What an `http` node sends, with its templates rendered and its secrets in place; and what of it is secret."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import httpx2

from anabranch.activities.http.secrets import HttpSecrets
from anabranch.activities.http.tokens import Client
from anabranch.activities.idempotency_key import header_key
from anabranch.activities.rendering import in_address, render
from anabranch.context.values import Json
from anabranch.errors import NodeError
from anabranch.graph.kinds.http import SECRET_PREFIX
from anabranch.graph.model import HttpNode
from anabranch.graph.parts import Auth, BasicAuth, ClientCredentials
from anabranch.masking import credentials
from anabranch.transport.node_protocol import NodeTask

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_OWN_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_MAX_PORT: Final = 65535
_KEY: Final = "idempotency-key"


@dataclass(slots=True)
class Call:
    """One request of a node, ready to be sent."""

    method: str
    url: httpx2.URL
    headers: dict[str, str] = field(default_factory=dict)
    """By names in lower case."""
    content: bytes | None = None
    client: Client | None = None
    """Whose token it is sent with."""
    used: list[str] = field(default_factory=list)
    """The secrets that are sent, and their parts: what to mask in the answer."""
    secret_headers: frozenset[str] = frozenset()
    """The names of headers with secrets in them."""
    secret_query: dict[str, str | list[str]] = field(default_factory=dict)
    """The parameters of the URL that are secrets."""
    has_secret_body: bool = False

    def at(self, url: httpx2.URL, key: str) -> Call:
        """The same call of another address of the same server, which knows it by another key."""
        with_secrets = url.copy_merge_params(self.secret_query) if self.secret_query else url
        return replace(self, url=with_secrets, headers={**self.headers, _KEY: header_key(key)})


async def call_of(task: NodeTask, node: HttpNode, secrets: HttpSecrets) -> Call:
    """The request of a node. Raises NodeError where it cannot be sent, ConfigurationError for a secret."""
    call = Call(node.method, _url(await render(node.url, in_address(task)), "the `url`"))
    filling = _Filling(task, secrets, call)
    await filling.headers(node.headers)
    if node.auth is not None:
        await filling.auth(node.auth)
    await filling.query(node.query)
    await filling.body(node.body)
    return call


@dataclass(slots=True)
class _Filling:
    """Fills in the parts of a call."""

    task: NodeTask
    secrets: HttpSecrets
    call: Call

    async def headers(self, templates: Mapping[str, str]) -> None:
        headers = self.call.headers
        headers |= {_KEY: header_key(self.task.key), "accept-encoding": "identity"}
        for name, template in templates.items():
            used = len(self.call.used)
            value = await self._text(template, f"the header {name!r}")
            _check_header(name, value)
            headers[name.lower()] = value
            if len(self.call.used) > used:
                self.call.secret_headers |= {name.lower()}

    async def auth(self, auth: Auth) -> None:
        if auth.bearer is not None:
            self._authorize(f"Bearer {await self._text(auth.bearer, '`auth.bearer`')}")
        elif auth.basic is not None:
            self._authorize(await self._basic(auth.basic))
        elif auth.oauth2 is not None:
            self.call.client = await self._client(auth.oauth2)

    async def query(self, templates: Mapping[str, Json]) -> None:
        """Add the parameters to the URL: lists repeat one, null leaves it out."""
        query: dict[str, str | list[str]] = {}
        for name, template in templates.items():
            what, used = f"`query.{name}`", len(self.call.used)
            if isinstance(template, list):
                query[name] = [await self._text(item, what) for item in template]
            elif isinstance(value := await self._value(template), list):
                query[name] = [_text(item, what) for item in value]
            elif value is not None:
                query[name] = _text(value, what)
            if len(self.call.used) > used:
                self.call.secret_query[name] = query[name]
        if query:
            self.call.url = self.call.url.copy_merge_params(query)

    async def body(self, template: Json) -> None:
        used = len(self.call.used)
        value = self._with_secrets(template, await render(template, self.task))
        self.call.has_secret_body = len(self.call.used) > used
        if value is None:
            return
        if isinstance(value, str):
            self.call.headers.setdefault("content-type", "text/plain; charset=utf-8")
            self.call.content = value.encode()
        else:
            self.call.headers.setdefault("content-type", "application/json")
            self.call.content = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    async def _text(self, template: Json, what: str) -> str:
        return _text(await self._value(template), what)

    async def _value(self, template: Json) -> Json:
        """What a template yields, or the secret that it names. What it yields names none."""
        secret = self._secret(template)
        return await render(template, self.task) if secret is None else secret

    def _secret(self, template: Json) -> str | None:
        secret = self.secrets.resolved(template, self.call.url) if isinstance(template, str) else None
        if secret is not None:
            self.call.used += credentials(secret)
        return secret

    def _with_secrets(self, template: Json, rendered: Json) -> Json:
        """What a template yields, with the secrets that it names at their places: a template keeps its shape."""
        if isinstance(template, dict) and isinstance(rendered, dict):
            return {key: self._with_secrets(template.get(key), inner) for key, inner in rendered.items()}
        if isinstance(template, list) and isinstance(rendered, list):
            return [self._with_secrets(inner, value) for inner, value in zip(template, rendered, strict=True)]
        secret = self._secret(template)
        return rendered if secret is None else secret

    def _authorize(self, value: str) -> None:
        _check_header("authorization", value)
        self.call.headers["authorization"] = value
        self.call.used += credentials(value)

    async def _basic(self, basic: BasicAuth) -> str:
        user = await self._text(basic.user, "`auth.basic.user`")
        password = await self._text(basic.password, "`auth.basic.password`")
        if ":" in user:
            raise NodeError("`auth.basic.user` has a colon, behind which the password would begin")
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"

    async def _client(self, given: ClientCredentials) -> Client:
        issuer = _url(await render(given.token_url, in_address(self.task)), "`auth.oauth2.token_url`")
        variable = given.client_secret.removeprefix("env:")
        secret = self.secrets.client_secret(variable, issuer, self.call.url)
        named = self.secrets.resolved(given.client_id, issuer)
        if named is not None:
            self.call.used += credentials(named)
        client_id = await render(given.client_id, self.task) if named is None else named
        asked = {"scope": await render(given.scope, self.task), "audience": await render(given.audience, self.task)}
        fields = {name: _text(value, f"`auth.oauth2.{name}`") for name, value in asked.items() if value is not None}
        self.call.used += credentials(secret)
        return Client(
            url=issuer,
            id=_text(client_id, "`auth.oauth2.client_id`"),
            secret=secret,
            variable=variable,
            in_body=given.client_auth == "body",
            fields=tuple(fields.items()),
        )


def _text(value: Json, what: str) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise NodeError(
            f"{what} is {'null' if value is None else 'not a plain value'}; it must be text, a number or a boolean"
        )
    return json.dumps(value)


def _url(value: Json, what: str) -> httpx2.URL:
    try:
        url = httpx2.URL(_text(value, what))
    except httpx2.InvalidURL:
        raise NodeError(f"{what} is not a URL", suggestion="write https://host/path") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise NodeError(f"{what} must begin with http:// or https:// and name a host")
    if (url.port or 0) > _MAX_PORT:
        raise NodeError(f"{what} has the port {url.port}; the highest is {_MAX_PORT}")
    if url.userinfo:
        raise NodeError(
            f"{what} holds credentials, which would stay in the history",
            suggestion=f"say `auth`, with secrets of the worker: env:{SECRET_PREFIX}NAME",
        )
    return url


def _check_header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
        raise NodeError(f"{name!r} is not a header that a node may send")
    if not value.isascii() or not value.isprintable():
        raise NodeError(
            f"the value of the header {name!r} has a line break or another character that headers may not have"
        )
