"""JSON Web Tokens of an OpenID Connect issuer: verified by its public keys, which are fetched from it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx2

from anabranch.broken import BROKEN
from anabranch.console.access.caller import Caller, Role
from anabranch.console.refusal import Refused
from anabranch.errors import ConfigurationError, InputError, Unavailable
from anabranch.transport.client import is_loopback
from anabranch.workflows.interpreter.writers import outsider

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ISSUER_VARIABLE: Final = "ANABRANCH_CONSOLE_ISSUER"
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""With public keys only: nobody can sign with what anybody may fetch."""
_KEPT_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 10.0
"""Between two fetches for keys that are not known."""
_LEEWAY_SECONDS: Final = 30
_PATIENCE_SECONDS: Final = 10.0
_LARGEST: Final = 1024 * 1024
_LONGEST_TOKEN: Final = 16 * 1024


class Issuer:
    """Who the issuer says that somebody is: the token's `sub`, the role of its roles claim, its groups."""

    def __init__(self, url: str, audience: str, roles_claim: str, groups_claim: str = "groups") -> None:
        _check_address(url)
        self._url = url
        self._audience = audience
        self._roles_claim = roles_claim
        self._groups_claim = groups_claim
        self._keys: KeySet | None = None
        self._fetched = -math.inf
        self._fetching = asyncio.Lock()

    async def caller(self, token: str) -> Caller:
        """Who sends a token. Raises Refused for one that is not valid or expired, Unavailable without the keys."""
        from joserfc.errors import ExpiredTokenError, JoseError

        if len(token) > _LONGEST_TOKEN:
            raise invalid()
        try:
            claims = self._checked(await self._claims(token))
        except ExpiredTokenError:
            raise expired() from None
        except (JoseError, *BROKEN):  # anybody may send anything
            raise invalid() from None
        return self._named(claims)

    async def _claims(self, token: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError

        keys = await self._known(_KEPT_SECONDS)
        try:
            return jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
        except InvalidKeyIdError:  # the issuer may have new keys
            keys = await self._known(_PAUSE_SECONDS)
            return jwt.decode(token, keys, algorithms=_ALGORITHMS).claims

    def _checked(self, claims: dict[str, Any]) -> dict[str, Any]:
        from joserfc.jwt import JWTClaimsRegistry

        registry = JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._url},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        registry.validate(claims)
        return claims

    def _named(self, claims: Mapping[str, Any]) -> Caller:
        given = claims.get(self._roles_claim)
        roles = [role for each in _listed(given) if (role := Role.named(each))]
        name = claims["sub"]
        try:
            outsider("operator", name)
        except InputError:
            raise invalid() from None
        if not roles:
            raise Refused(
                403,
                "ROLE_MISSING",
                f"the token of {name!r} has no role of the console",
                suggestion=f"let the issuer put viewer, answerer or operator into the claim {self._roles_claim!r}",
            )
        groups = frozenset(_listed(claims.get(self._groups_claim)))
        return Caller(name, max(roles), float(claims["exp"]), groups, is_known=True)

    async def _known(self, age: float) -> KeySet:
        """The keys, fetched anew where they are older than `age` seconds. Raises Unavailable."""
        async with self._fetching:
            if self._keys is None or time.monotonic() - self._fetched > age:
                self._keys = await self._fetch()
                self._fetched = time.monotonic()
            return self._keys

    async def _fetch(self) -> KeySet:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), httpx2.AsyncClient() as client:
                about = await _json(client, f"{self._url.rstrip('/')}/.well-known/openid-configuration")
                return KeySet.import_key_set(await _json(client, self._address_of_keys(about)))
        except (
            TimeoutError,
            httpx2.HTTPError,
            ValueError,
            KeyError,
            TypeError,
            JoseError,
            ConfigurationError,
        ) as error:
            raise Unavailable(
                f"the issuer's keys cannot be fetched: {error or type(error).__name__}", place=self._url
            ) from error

    def _address_of_keys(self, about: Mapping[str, Any]) -> str:
        if about.get("issuer") != self._url:
            raise ValueError(f"it calls itself {about.get('issuer')!r:.200}")
        address = str(about["jwks_uri"])
        _check_address(address)
        return address


def _listed(claim: object) -> list[str]:
    """The texts of a claim that is one, or a list of them."""
    return [each for each in (claim if isinstance(claim, list) else [claim]) if isinstance(each, str)]


async def _json(client: httpx2.AsyncClient, url: str) -> Any:
    async with client.stream("GET", url) as response:
        response.raise_for_status()
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _LARGEST:
                raise ValueError(f"the answer is over {_LARGEST} bytes")
    return httpx2.Response(200, content=bytes(body)).json()


def _check_address(url: str) -> None:
    """Refuse an address from which others could forge the keys. Raises ConfigurationError."""
    parts = urlsplit(url)
    is_private = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(f"{parts.hostname}:0"))
    if not parts.hostname or not is_private:
        raise ConfigurationError(f"{url!r:.200} is not an https address", place=ISSUER_VARIABLE)


def invalid() -> Refused:
    """Of a token that nobody has."""
    return Refused(401, "TOKEN_INVALID", "the token is not valid", suggestion="sign in with another one")


def expired() -> Refused:
    """Of a token that was valid."""
    return Refused(401, "TOKEN_EXPIRED", "the sign-in has expired", suggestion="sign in again")
