"""The HTML around every page: head, bar with the places to go, a main part that a script fills."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from anabranch.console.pages.modules import modules

_PLACES: Final = (("runs", "/", "Runs"), ("inbox", "/inbox", "Inbox"), ("graphs", "/graphs", "Graphs"))
_CURRENT: Final = ' aria-current="page"'
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} · Anabranch</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
{styles}
{preloads}
<script type="module" src="/static/shell.js"></script>
{script}
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="bar">
<a class="brand" href="/"><img src="/static/icon.svg" alt="" width="22" height="22">Anabranch</a>
{places}
</header>
<main id="main" tabindex="-1">{body}</main>
<div class="toasts" id="toasts" role="status" aria-live="polite"></div>
</body>
</html>
"""


def page(
    title: str, script: str | None, *, active: str | None, body: str = "", styles: Sequence[str] = ()
) -> HTMLResponse:
    """A page whose `script` below `/static/` fills the main part. `body` is HTML; `active` is one of the places.

    Without `active` there is nowhere to go: nobody is signed in.
    """
    sheets = ("base.css", *styles)
    needed = dict.fromkeys((*modules("shell.js"), *(() if script is None else modules(script))))
    return HTMLResponse(
        _PAGE.format(
            title=escape(title),
            script="" if script is None else f'<script type="module" src="/static/{escape(script)}"></script>',
            styles="\n".join(f'<link rel="stylesheet" href="/static/{escape(name)}">' for name in sheets),
            preloads="\n".join(f'<link rel="modulepreload" href="/static/{escape(name)}">' for name in needed),
            places="" if active is None else _places(active),
            body=body,
        )
    )


def _places(active: str) -> str:
    links = (
        f'<a href="{address}" id="place-{name}"{_CURRENT if name == active else ""}>{label}</a>'
        for name, address, label in _PLACES
    )
    return f'<nav class="places" aria-label="Places">{"".join(links)}</nav><div class="me" id="me"></div>'
