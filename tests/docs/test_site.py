"""The site of the documentation: it has every page, no dead link, and asks no other origin for anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from playwright.sync_api import Page, sync_playwright

from anabranch.loopback import free_port
from tests.docs.pages import ROOT, pages
from tools.site import for_site


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without the functions that it names."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def navigation(entries: Any) -> Iterator[str]:
    """The pages in reading order."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for inner in entry.values():
                yield from navigation([inner] if isinstance(inner, str) else inner)


def test_the_navigation_has_every_page_once() -> None:
    configured = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)
    named = list(navigation(configured["nav"]))
    written = [page.removeprefix("docs/") for page in pages() if page.startswith("docs/")]
    assert sorted(named) == sorted(written)


def test_a_block_is_shown_without_what_only_tests_read_of_it() -> None:
    assert for_site('```yaml title="a.yaml" warns\nx: 1\n```\n', "a.md") == '```yaml title="a.yaml"\nx: 1\n```\n'
    assert for_site("```yaml fragment\n```\n", "a.md") == "```yaml\n```\n"


def test_a_link_to_what_the_site_has_not_is_text() -> None:
    text = "[Contributing](../CONTRIBUTING.md), [files](extending/), [here](b.md#c), [out](https://cel.dev)"
    assert for_site(text, "a.md") == "Contributing, files, [here](b.md#c), [out](https://cel.dev)"
    assert for_site("[up](../b.md)", "adr/a.md") == "[up](../b.md)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environ = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.fixture
def browser(chromium: str, site: Path) -> Iterator[tuple[Page, list[str], str]]:
    """A page of a browser, the addresses that it asks for, and the address of the site."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(site)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with sync_playwright() as playwright:
            running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page, asked = running.new_page(color_scheme="light"), list[str]()
            page.on("request", lambda request: asked.append(request.url))
            url = f"http://127.0.0.1:{port}"
            while True:
                try:
                    page.goto(url)
                except Exception:
                    assert server.poll() is None
                    continue
                break
            yield page, asked, url
            running.close()
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.slow
@pytest.mark.browser
def test_pages_are_searched_and_darkened_and_ask_no_other_origin(browser: tuple[Page, list[str], str]) -> None:
    page, asked, url = browser
    for name in ("tutorial.html", "reference/every-node.html", "functions.html", "adr/0001-cel.html"):
        page.goto(f"{url}/{name}")
        assert page.locator("h1").count() == 1
    page.goto(f"{url}/index.html")
    assert page.evaluate("document.body.dataset.mdColorScheme") == "default"
    page.locator("label[title=Dark]").first.click()
    assert page.evaluate("document.body.dataset.mdColorScheme") == "slate"
    page.locator("input.md-search__input").click()
    page.locator("input.md-search__input").press_sequentially("compensation")
    page.locator(".md-search-result__link").first.wait_for()
    origins = {urlsplit(each)[:2] for each in asked if not each.startswith(("data:", "blob:"))}
    assert origins == {urlsplit(url)[:2]}
