"""How pictures look: one stylesheet, light and dark, with all colours in custom properties."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from anabranch.graph.drawing.scene import NAME_SIZE, TEXT_SIZE

_LIGHT: Final[Mapping[str, str]] = {
    "canvas": "#ffffff",
    "ink": "#1d2530",
    "muted": "#566171",
    "edge": "#8b96a5",
    "taken": "#3d4a5c",
    "box": "#f7f9fb",
    "box-line": "#c9d1db",
    "focus": "#1a63c7",
    "sign": "#ffffff",
    "amber": "#a98d46",
    "amber-fill": "#fbf8f0",
    "blue": "#6a8cb8",
    "blue-fill": "#f1f6fc",
    "green": "#76996a",
    "green-fill": "#f2f8f0",
    "red": "#bb7068",
    "red-fill": "#fcf3f2",
    "rose": "#b77a8b",
    "rose-fill": "#fbf3f5",
    "slate": "#8592a2",
    "slate-fill": "#f5f7f9",
    "teal": "#5f9995",
    "teal-fill": "#f0f8f7",
    "violet": "#8d7cb8",
    "violet-fill": "#f6f3fb",
    "ready": "#5483b3",
    "ready-fill": "#eef5fc",
    "running": "#1d67c0",
    "running-fill": "#e3effd",
    "waiting": "#a3690b",
    "waiting-fill": "#fdf3dc",
    "conflict": "#8a3fa6",
    "conflict-fill": "#f8ecfc",
    "paused": "#b8521a",
    "paused-fill": "#fdeee4",
    "succeeded": "#2f7d46",
    "succeeded-fill": "#e8f6eb",
    "failed": "#b8332b",
    "failed-fill": "#fdeae8",
    "cancelled": "#5d6773",
    "cancelled-fill": "#eef0f3",
    "compensated": "#51698a",
    "compensated-fill": "#ebf0f7",
}
_DARK: Final[Mapping[str, str]] = {
    "canvas": "#12161c",
    "ink": "#e6eaf0",
    "muted": "#a3afbe",
    "edge": "#66738a",
    "taken": "#c3ccd8",
    "box": "#171c24",
    "box-line": "#364151",
    "focus": "#7cb2ff",
    "sign": "#12161c",
    "amber": "#937d48",
    "amber-fill": "#221f17",
    "blue": "#5c7da6",
    "blue-fill": "#182029",
    "green": "#668a5a",
    "green-fill": "#19211a",
    "red": "#a8645d",
    "red-fill": "#261b1b",
    "rose": "#a06b7a",
    "rose-fill": "#251b1f",
    "slate": "#6f7c8d",
    "slate-fill": "#1c2129",
    "teal": "#4f8783",
    "teal-fill": "#172222",
    "violet": "#7d6ea5",
    "violet-fill": "#1f1c28",
    "ready": "#7fa9d6",
    "ready-fill": "#172433",
    "running": "#6cabff",
    "running-fill": "#14273f",
    "waiting": "#e0ad4c",
    "waiting-fill": "#2d2513",
    "conflict": "#cf8ae8",
    "conflict-fill": "#2a1a31",
    "paused": "#f0945c",
    "paused-fill": "#301e14",
    "succeeded": "#6cc085",
    "succeeded-fill": "#15281b",
    "failed": "#f0857c",
    "failed-fill": "#331a19",
    "cancelled": "#99a4b2",
    "cancelled-fill": "#20252c",
    "compensated": "#93add1",
    "compensated-fill": "#1a2431",
}
_TONES: Final = ("amber", "blue", "green", "red", "rose", "slate", "teal", "violet")
_STATES: Final = (
    "ready",
    "running",
    "waiting",
    "conflict",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
    "compensated",
)
_ALSO: Final = {"failed": ("timed-out", "compensation-failed")}
"""States that look like another one, but for their sign."""
_FONTS: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
_RULES: Final = f"""
.drawing {{ font-family: {_FONTS}; background: var(--drawing-canvas); }}
.drawing text {{ font-size: {TEXT_SIZE:g}px; fill: var(--drawing-muted); text-anchor: middle; }}
.drawing .name {{ font-size: {NAME_SIZE:g}px; font-weight: 600; fill: var(--drawing-ink); }}
.drawing .around > text, .drawing .last > text {{ text-anchor: start; }}
.drawing .shape {{ stroke-width: 1.4px; stroke-linejoin: round; }}
.drawing .box {{ fill: var(--drawing-box); stroke: var(--drawing-box-line); stroke-width: 1.4px; }}
.drawing .last .box {{ stroke-dasharray: 2 3; }}
.drawing .undo .shape, .drawing .undo .box {{ stroke-dasharray: 5 3; }}
.drawing .line {{ fill: none; stroke: var(--drawing-edge); stroke-width: 1.4px; }}
.drawing .head {{ fill: var(--drawing-edge); stroke: none; }}
.drawing .back {{ fill: var(--drawing-canvas); }}
.drawing .inner .back {{ fill: var(--drawing-box); }}
.drawing .other .line, .drawing .undoes {{ stroke-dasharray: 5 4; }}
.drawing .undoes {{ fill: none; stroke: var(--drawing-edge); stroke-width: 1.4px; }}
.drawing .taken .line {{ stroke: var(--drawing-taken); stroke-width: 2px; }}
.drawing .taken .head {{ fill: var(--drawing-taken); }}
.drawing .dead {{ opacity: 0.45; }}
.drawing .dead .line {{ stroke-dasharray: 1.5 4; }}
.drawing .badge path {{ fill: none; stroke: var(--drawing-sign); stroke-width: 1.8px; }}
.drawing .badge path {{ stroke-linecap: round; stroke-linejoin: round; }}
.drawing .state-skipped > .shape, .drawing .state-cancelled > .shape {{ stroke-dasharray: 4 3; }}
"""
_FAINT: Final = """
.drawing .state-pending > .shape, .drawing .state-skipped > .shape {
  fill: var(--drawing-canvas); stroke: var(--drawing-edge);
}
.drawing .state-pending > .name, .drawing .state-skipped > .name { font-weight: 400; fill: var(--drawing-muted); }
.drawing .state-skipped > .badge circle { fill: var(--drawing-muted); }
"""
_SCREEN: Final = """
.drawing { color-scheme: light dark; }
.drawing [tabindex] { outline: none; }
.drawing [tabindex]:focus-visible > .shape, .drawing [tabindex]:focus-visible > .box {
  stroke: var(--drawing-focus); stroke-width: 3px; stroke-dasharray: none;
}
@media (prefers-reduced-motion: no-preference) {
  .drawing .state-running > .badge circle { animation: drawing-pulse 1.8s ease-in-out infinite; }
  @keyframes drawing-pulse { 50% { opacity: 0.45; } }
}
@media (forced-colors: active) {
  .drawing .shape, .drawing .box, .drawing .line { stroke: CanvasText; }
}
"""


def stylesheet() -> str:
    """The stylesheet for screens: light or dark as the reader prefers."""
    return (
        f".drawing {{ {_properties(_LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ .drawing {{ {_properties(_DARK)} }} }}\n"
        f"{_rules()}{_SCREEN}"
    )


def printed_stylesheet() -> str:
    """The same on white paper, for renderers that know no custom properties."""
    return re.sub(r"var\(--drawing-([a-z-]+)\)", lambda found: _LIGHT[found[1]], _rules())


def _properties(colors: Mapping[str, str]) -> str:
    return " ".join(f"--drawing-{name}: {color};" for name, color in colors.items())


def _rules() -> str:
    tones = "\n".join(_painted(f".tone-{tone}", tone) for tone in _TONES)
    states = "\n".join(
        f"{_painted(f'.state-{each}', state, '2px')}\n.drawing .state-{each} > .badge circle "
        f"{{ fill: var(--drawing-{state}); }}"
        for state in _STATES
        for each in (state, *_ALSO.get(state, ()))
    )
    return f"{_RULES}{tones}\n{states}{_FAINT}"


def _painted(selector: str, color: str, stroke: str = "1.4px") -> str:
    outline = f"stroke: var(--drawing-{color}); stroke-width: {stroke};"
    return (
        f".drawing {selector} > .shape {{ fill: var(--drawing-{color}-fill); {outline} }}\n"
        f".drawing {selector} > .box {{ {outline} }}"
    )
