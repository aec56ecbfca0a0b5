"""A real browser for tests: the machine's Chromium, headless, with a fresh profile."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",  # tests may run as root; nothing but our own pages is ever opened
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def program() -> str:
    """The browser's path."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail("no Chromium: install it, or say where it is: CHROMIUM=/path", pytrace=False)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module of tests; each test opens its own contexts."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program(), args=list(QUIET))
        yield opened
        opened.close()
