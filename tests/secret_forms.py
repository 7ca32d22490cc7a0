"""How servers write what they were sent: the forms in which a secret comes back."""

from __future__ import annotations

import base64
import html
import json
import quopri
from collections.abc import Callable
from functools import reduce
from urllib.parse import quote, quote_plus


def _u(text: str) -> str:
    return "".join(f"\\u{ord(one):04x}" for one in text)


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON with \\/": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "JSON with \\u0026": lambda s: json.dumps(s)[1:-1].replace("&", "\\u0026"),
    "JSON with \\u003c and \\u002F": lambda s: json.dumps(s)[1:-1].replace("<", "\\u003C").replace("/", "\\u002F"),
    "JSON, each character escaped": _u,
    "JSON in JSON": lambda s: json.dumps(json.dumps(s)),
    "JSON in JSON in JSON": lambda s: json.dumps(json.dumps(json.dumps(s))),
    "JSON six times": lambda s: reduce(lambda text, _: json.dumps(text), range(6), s),
    "JSON in JSON with \\/": lambda s: json.dumps(json.dumps(s).replace("/", "\\/")),
    "JavaScript \\x": lambda s: "".join(f"\\x{ord(one):02x}" for one in s),
    "JavaScript \\u{}": lambda s: "".join(f"\\u{{{ord(one):x}}}" for one in s),
    "Python \\U": lambda s: "".join(f"\\U{ord(one):08x}" for one in s),
    "octal": lambda s: "".join(f"\\{ord(one):03o}" for one in s),
    "percent": lambda s: quote(s, safe=""),
    "percent in small letters": lambda s: quote(s, safe="").lower(),
    "percent, each character": lambda s: "".join(f"%{ord(one):02X}" for one in s),
    "percent, keeping /": quote,
    "percent twice": lambda s: quote(quote(s, safe=""), safe=""),
    "percent three times": lambda s: quote(quote(quote(s, safe=""), safe=""), safe=""),
    "form": quote_plus,
    "%u": lambda s: "".join(f"%u{ord(one):04x}" for one in s),
    "HTML": html.escape,
    "HTML without quotes": lambda s: html.escape(s, quote=False),
    "HTML twice": lambda s: html.escape(html.escape(s)),
    "HTML decimal": lambda s: "".join(f"&#{ord(one)};" for one in s),
    "HTML hexadecimal": lambda s: "".join(f"&#x{ord(one):X};" for one in s),
    "HTML padded": lambda s: "".join(f"&#{ord(one):07d};" for one in s),
    "HTML by name": lambda s: s.replace("&", "&amp;").replace("/", "&sol;").replace("+", "&plus;"),
    "HTML in JSON": lambda s: json.dumps(html.escape(s)),
    "JSON in HTML": lambda s: html.escape(json.dumps(s)),
    "JSON in percent": lambda s: quote(json.dumps(s)),
    "percent in JSON": lambda s: json.dumps(quote(s)),
    "percent in HTML": lambda s: html.escape(quote(s)),
    "quoted-printable": lambda s: quopri.encodestring(s.encode(), quotetabs=True).decode(),
    "quoted-printable, each character": lambda s: "".join(f"={ord(one):02X}" for one in s),
    "a soft line break inside": lambda s: s[:5] + "=\r\n" + s[5:],
    "zeros between": "\0".join,
    "a zero width space inside": lambda s: s[:5] + "\u200b" + s[5:],
    "Base64": lambda s: base64.b64encode(s.encode()).decode(),
    "Base64 after one byte": lambda s: base64.b64encode(b"x" + s.encode()).decode(),
    "Base64 after two bytes": lambda s: base64.b64encode(b"xy" + s.encode()).decode(),
    "Base64 for URLs": lambda s: base64.urlsafe_b64encode(b"\xff" + s.encode() + b"\xfe").decode(),
    "Base64 without padding": lambda s: base64.b64encode(s.encode()).decode().rstrip("="),
    "Base64 in lines": lambda s: base64.encodebytes(b"0123456789" * 5 + s.encode()).decode(),
    "Base64 in lines in JSON": lambda s: json.dumps(base64.encodebytes(b"0123456789" * 5 + s.encode()).decode()),
    "Base64 in JSON with \\/": lambda s: json.dumps(base64.b64encode(s.encode()).decode()).replace("/", "\\/"),
    "Base64 in percent": lambda s: quote(base64.b64encode(s.encode()).decode(), safe=""),
    "Base64 of JSON with \\/": lambda s: base64.b64encode(json.dumps({"k": s}).replace("/", "\\/").encode()).decode(),
    "Base64 of a header": lambda s: base64.b64encode(f"authorization: {s}\r\n".encode()).decode(),
    "Base64 of HTML": lambda s: base64.b64encode(html.escape(s).encode()).decode(),
    "hexadecimal": lambda s: s.encode().hex(),
    "hexadecimal in capitals": lambda s: s.encode().hex().upper(),
    "hexadecimal with colons": lambda s: s.encode().hex(":"),
    "hexadecimal with spaces": lambda s: s.encode().hex(" "),
}
