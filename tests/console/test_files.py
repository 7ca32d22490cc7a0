from __future__ import annotations

import hashlib

from anabranch.console.pages.modules import STATIC, modules
from anabranch.console.pages.shell import page


def test_the_vendored_library_is_the_published_one() -> None:
    vendor = STATIC / "vendor"
    told = (vendor / "README.md").read_text()
    scripts = sorted(vendor.glob("*.js"))
    assert [each.name for each in scripts] == ["preact.js"]
    for each in scripts:
        assert f"| `{hashlib.sha256(each.read_bytes()).hexdigest()}` |" in told
    assert "Apache License" in (vendor / "LICENSE-htm").read_text()
    assert "MIT License" in (vendor / "LICENSE-preact").read_text()


def test_scripts_and_stylesheets_name_no_other_origin() -> None:
    for each in (*STATIC.rglob("*.js"), *STATIC.rglob("*.css")):
        if "vendor" not in each.parts:
            text = each.read_text()
            assert "http://" not in text.replace("http://www.w3.org/", ""), each
            assert "https://" not in text, each


def test_a_page_names_all_modules_that_its_scripts_import() -> None:
    scripts = ["shell.js", "run.js", *(f"pages/{each.name}" for each in (STATIC / "pages").glob("*.js"))]
    reached = {name for script in scripts for name in modules(script)}
    there = {each.relative_to(STATIC).as_posix() for each in STATIC.rglob("*.js")}
    assert reached == there - set(scripts)
    assert "vendor/preact.js" in modules("run.js")
    text = bytes(page("a run", "run.js", active="runs").body).decode()
    assert text.count('rel="modulepreload"') == len({*modules("run.js"), *modules("shell.js")})
    assert '<link rel="modulepreload" href="/static/run/store.js">' in text
