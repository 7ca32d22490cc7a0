r"""Secrets that are known are masked in whatever text they come back, in every form that decodes to them.

A text is searched as it is, then as it reads once its escapes are resolved, and so on up to eight times: `\/`,
`\u0026`, `%2F`, `&amp;`, `=3D`. What looks like Base64 or hexadecimal is searched as what it decodes to. Case does not
matter. A secret that is cut into pieces, or encrypted, is not found.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote, unquote_to_bytes, urlsplit

MASK: Final = "***"

_Json: TypeAlias = "bool | int | float | str | list[_Json] | dict[str, _Json] | None"
_Span: TypeAlias = tuple[int, int]
_LAYERS: Final = 8
"""How often escapes are resolved in what escapes were resolved in: JSON in a string of JSON, in a log, in HTML."""
_SHORTEST_ENCODED: Final = 6
"""Characters below which a secret is not looked for in Base64: chance would find it everywhere."""
_ESCAPE: Final = re.compile(
    r"""
    (?P<unicode>(?:(?-i:\\u)[0-9a-f]{4})+) | \\u\{(?P<braced>[0-9a-f]{1,6})\} | (?-i:\\U)(?P<wide>[0-9a-f]{8})
    | \\x(?P<hex>[0-9a-f]{2}) | \\(?P<octal>[0-3][0-7]{2}) | (?P<plain>(?:\\[^ux0-7])+|\\.)
    | (?P<percent>(?:%[0-9a-f]{2})+) | %u(?P<script>[0-9a-f]{4})
    | (?P<html>&(?:\#x?[0-9a-f]{1,8}|[a-z][a-z0-9]{1,31});?)
    | (?P<nothing>[\x00\xad\u200b-\u200d\u2060\ufeff]+)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL | re.ASCII,
)
_QUOTED: Final = re.compile(r"(?P<percent>(?:=[0-9A-F]{2})+)|(?P<nothing>(?:=\r?\n)+)")
"""Quoted-printable. It is resolved apart: what follows the `=` of a query looks the same."""
_SIGN: Final = re.compile("[\\\\%&=\\x00\\xad\\u200b-\\u200d\\u2060\\ufeff]")
"""What an escape begins with."""
_CONTROL: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_STANDARD: Final = str.maketrans("-_", "+/")
_SECRETIVE: Final = re.compile("pass|pwd|secret|token|key|sig|auth|cred", re.IGNORECASE)
"""In names of what is secret."""
_BASIC: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}", re.ASCII)


def credentials(value: str) -> tuple[str, ...]:
    """A secret, and the parts of it that give access by themselves.

    They are what follows the scheme (`Bearer …`), what Basic encodes with the password in it, and the values of
    `name=value`, as in cookies.
    """
    value = value.strip()
    scheme, _, rest = value.partition(" ")
    found = [value, rest.strip()]
    if decoded := _basic(rest.strip() or scheme):
        found += [decoded, decoded.partition(":")[2]]
    for part in re.split(r"[;,\s]+", value):
        inner = part.partition("=")[2].strip("\"'=")
        found.append(inner if len(inner) >= _SHORTEST_ENCODED else "")
    return tuple(dict.fromkeys(part for part in found if part))


def _basic(token: str) -> str:
    """The `user:password` that a token encodes; empty if it encodes none."""
    if not _BASIC.fullmatch(token):
        return ""
    try:
        text = base64.b64decode(token.translate(_STANDARD) + "==").decode()
    except ValueError:
        return ""
    return text if ":" in text and text.isprintable() else ""


def url_secrets(url: str) -> tuple[str, ...]:
    """What is secret in a URL: its password, and query values of such names; as they are written and decoded."""
    try:
        parts = urlsplit(url)
        found = [parts.password or ""]
    except ValueError:
        return ()
    query = [part.partition("=") for part in parts.query.split("&")]
    found += [value for name, _, value in query if _SECRETIVE.search(name)]
    return tuple(dict.fromkeys(form for part in found for form in (part, unquote(part)) if form))


class Mask:
    """Masks some secrets in text and data. Empty secrets are ignored."""

    __slots__ = ("_encoded", "_least", "_needles")

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._needles = sorted({_folded(form) for form in forms})
        self._least = min(map(len, forms), default=0)
        self._encoded = min((len(form) for form in forms if len(form) >= _SHORTEST_ENCODED), default=0)

    def __bool__(self) -> bool:
        return bool(self._needles)

    def text(self, text: str) -> str:
        """The text with every secret masked."""
        if not self._needles or len(text) < self._least:
            return text
        told, at = [], 0
        for start, end in _merged(self._spans(text)):
            told += [text[at:start], MASK]
            at = end
        return "".join((*told, text[at:])) if told else text

    def value(self, value: _Json) -> _Json:
        """Data with every secret masked: in keys, in texts, and as a number."""
        if not self._needles:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, int | float) and not isinstance(value, bool):
            masked = self.text(text := repr(value))
            return value if masked == text else masked
        return value

    def _spans(self, text: str) -> Iterator[_Span]:
        """Where secrets are in a text."""
        seen: set[tuple[int, _Span, str]] = set()
        for layer in _layers(text):
            yield from (layer.in_source(span) for span in self._found(layer.text))
            for run in _runs(layer.text, self._encoded) if self._encoded else ():
                span = layer.in_source((run.start, run.end))
                # What escapes leave alone is the same in each layer.
                if (key := (run.encoding.bytes, span, run.characters)) not in seen:
                    seen.add(key)
                    yield from (layer.in_source(span) for span in self._decoded(run))

    def _decoded(self, run: _Run) -> Iterator[_Span]:
        """Where secrets are in a text, in a part of it that may be encoded."""
        for begin, decoded in run.decoded():
            for layer in _layers(decoded):
                for span in self._found(layer.text):
                    yield run.in_text(begin, layer.in_source(span))

    def _found(self, text: str) -> Iterator[_Span]:
        """Where secrets are in a text, as it is."""
        folded = _folded(text)
        for needle in self._needles:
            at = folded.find(needle)
            while at >= 0:
                yield at, at + len(needle)
                at = folded.find(needle, at + 1)


@lru_cache(maxsize=64)
def mask_of(*secrets: str) -> Mask:
    """The Mask of these secrets; the same one for the same secrets."""
    return Mask(secrets)


def _forms(secret: str) -> set[str]:
    """How a secret reads, itself and with its own escapes resolved."""
    found = {layer.text for layer in _layers(secret) if layer.text}
    # A form of HTML writes spaces so; and what Base64 hides is looked at as bytes.
    found |= {form.replace(" ", "+") for form in found}
    return found | {form.encode("utf-8", "replace").decode("latin-1") for form in found}


def _folded(text: str) -> str:
    """The text without case, each character where it was: only the Turkish dotted I would become two."""
    return text.replace("\u0130", "i").lower()


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    """The spans in order; those that touch or overlap as one."""
    merged: list[_Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


class _Piece(NamedTuple):
    """What begins at `place` of a layer and at `begin` of its source. `end` is that of an escape there, else 0."""

    place: int
    begin: int
    end: int = 0


@dataclass(frozen=True, slots=True)
class _Layer:
    """A text with the escapes of its source resolved, and the pieces that it is made of, in order."""

    text: str
    source: _Layer | None = None
    pieces: list[_Piece] = field(default_factory=list)

    def resolved(self, escape: re.Pattern[str] = _ESCAPE) -> _Layer | None:
        """This text with its escapes resolved once more; None if it has none."""
        pieces: list[_Piece] = []
        texts: list[str] = []
        length = at = looked = 0
        while (sign := _SIGN.search(self.text, looked)) is not None:
            looked = sign.end()
            if (found := escape.match(self.text, sign.start())) is None:
                continue
            looked = found.end()
            literal, read = self.text[at : found.start()], _read(found)
            pieces += [_Piece(length, at), _Piece(length + len(literal), found.start(), found.end())]
            texts += [literal, read]
            length += len(literal) + len(read)
            at = looked
        if not pieces or (text := "".join((*texts, self.text[at:]))) == self.text:
            return None
        pieces.append(_Piece(length, at))
        return _Layer(text, self, pieces)

    def in_source(self, span: _Span) -> _Span:
        """Where a span of this text is in the text that the first layer was given."""
        if self.source is None:
            return span
        return self.source.in_source((self._place(span[0], end=False), self._place(span[1] - 1, end=True)))

    def _place(self, place: int, *, end: bool) -> int:
        piece = self.pieces[bisect_right(self.pieces, place, key=itemgetter(0)) - 1]
        if piece.end:
            return piece.end if end else piece.begin
        return piece.begin + place - piece.place + (1 if end else 0)


def _layers(text: str) -> Iterator[_Layer]:
    """A text, and what it reads as when its escapes are resolved again and again."""
    whole = _Layer(text)
    chain = [whole, *_resolved(whole)]
    yield from chain
    for layer in chain[:2]:
        if (quoted := layer.resolved(_QUOTED)) is not None:
            yield from (quoted, *_resolved(quoted))


def _resolved(layer: _Layer) -> Iterator[_Layer]:
    for _ in range(_LAYERS):
        if (resolved := layer.resolved()) is None:
            return
        yield resolved
        layer = resolved


def _read(found: re.Match[str]) -> str:
    """What an escape stands for."""
    text, kind = found[0], found.lastgroup
    if kind == "unicode":
        return bytes.fromhex(text.replace("\\u", "")).decode("utf-16-be", "replace")
    if kind in ("braced", "wide", "hex", "script", "octal"):
        code = int(found[kind], 8 if kind == "octal" else 16)
        return chr(code) if code <= 0x10FFFF else text  # noqa: PLR2004 - the last character of Unicode
    if kind == "plain":
        return "".join(_CONTROL.get(character, character) for character in text[1::2])
    if kind == "percent":
        return unquote_to_bytes(text.replace("=", "%")).decode("utf-8", "replace")
    return html.unescape(text) if kind == "html" else ""


@dataclass(frozen=True, slots=True)
class _Run:
    """The part `text[start:end]` that may be encoded, and its characters without separators."""

    encoding: _Encoding
    text: str
    start: int
    end: int
    characters: str

    def decoded(self) -> Iterator[tuple[int, str]]:
        """What it decodes to, for each character at which reading may begin."""
        for begin in range(self.encoding.characters):
            yield begin, self.encoding.decode(self.characters[begin:])

    def in_text(self, begin: int, span: _Span) -> _Span:
        """Where the characters of a span of bytes are, which were decoded from the character `begin` on."""
        bits = 8 * self.encoding.bytes // self.encoding.characters
        first, last = begin + span[0] * 8 // bits, begin + (span[1] * 8 - 1) // bits
        if len(self.characters) == self.end - self.start:
            return self.start + first, self.start + last + 1
        character = re.compile(f"[{self.encoding.alphabet}]", re.ASCII)
        places = [one.start() for one in character.finditer(self.text, self.start, self.end)]
        return places[first], places[last] + 1


@dataclass(frozen=True, slots=True)
class _Encoding:
    """An encoding that makes groups of `characters` of groups of `bytes`."""

    bytes: int
    characters: int
    alphabet: str
    separators: str
    decode: Callable[[str], str]
    """The bytes that characters stand for, as characters; what is left over is dropped."""


def _of_base64(characters: str) -> str:
    left = len(characters) % 4
    padded = characters[:-1] if left == 1 else characters + "=" * (-left % 4)
    return binascii.a2b_base64(padded.translate(_STANDARD)).decode("latin-1")


def _of_hexadecimal(characters: str) -> str:
    return bytes.fromhex(characters[: len(characters) // 2 * 2]).decode("latin-1")


_ENCODINGS: Final = (
    _Encoding(3, 4, "A-Za-z0-9+/_-", r"\s", _of_base64),
    _Encoding(1, 2, "0-9A-Fa-f", r"\s:,", _of_hexadecimal),
)


def _runs(text: str, least: int) -> Iterator[_Run]:
    """The parts of a text that may be encoded, and stand for at least so many bytes."""
    for encoding in _ENCODINGS:
        count = least * encoding.characters // encoding.bytes
        both = encoding.separators + encoding.alphabet
        for found in re.finditer(f"[{encoding.alphabet}][{both}]{{{count - 1},}}", text, re.ASCII):
            characters = re.sub(f"[{encoding.separators}]+", "", found[0])
            if len(characters) >= count:
                yield _Run(encoding, text, *found.span(), characters)
