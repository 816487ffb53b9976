"""The viewer of dashboards in a headless Chromium."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"
"""Debian's package; playwright's own browser cannot be downloaded everywhere."""

TALL = 9000
"""Height of the window in pixels: panels query only while they are visible."""

TIMEOUT = 300
"""Seconds for a page to load on a busy machine."""

LOADING = '[aria-label="loading"], [aria-label="Loading..."], .MuiSkeleton-root, [role="progressbar"]'
ERRORS = '[aria-label="panel errors"], .MuiAlert-colorError'


@dataclass
class Viewer:
    """The viewer in a browser.

    Attributes:
        page: The page of the browser.
        url: The address of the viewer.
        problems: What the browser reported: errors of scripts, violations of the content security policy.
    """

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)

    def log_in(self, token: str) -> None:
        """Log in at the page."""
        self.page.goto(self.url)
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Log in").click()

    def open(self, path: str, variables: Mapping[str, str] | None = None, *, since: str = "") -> None:
        """Open a page and wait until it has loaded everything."""
        # Without the refresh of every 30 s, there is a moment at which nothing loads.
        query = {"refresh": "0s", **{f"var-{name}": value for name, value in (variables or {}).items()}}
        self.page.goto(f"{self.url}{path}?{urlencode({**query, **({'start': since} if since else {})})}")
        self.settle()

    def settle(self, *, seconds: float = TIMEOUT) -> None:
        """Wait until nothing on the page has been loading for a second."""
        self.page.locator("main h1").wait_for()
        deadline = time.monotonic() + seconds
        quiet = 0
        while quiet < 3:
            assert time.monotonic() < deadline, f"{self.page.url} is still loading"
            self.page.wait_for_timeout(400)
            quiet = 0 if self.page.locator(LOADING).count() else quiet + 1

    def panels(self) -> int:
        """Return the number of panels on the page."""
        return self.page.get_by_test_id("panel").count()

    def empty(self) -> list[str]:
        """Return the titles of the panels that show that there is no data."""
        found = self.page.get_by_test_id("panel").filter(has=self.page.get_by_test_id("no-data"))
        return [panel.locator("header [id$='-title']").inner_text().strip() for panel in found.all()]

    def failed(self) -> list[str]:
        """Return the errors on the page."""
        return [
            found.inner_text() or str(found.get_attribute("aria-label")) for found in self.page.locator(ERRORS).all()
        ]

    def picture(self, file: Path, *, height: int = 1000) -> None:
        """Save a picture of the top of the page."""
        self.page.screenshot(path=file, clip={"x": 0, "y": 0, "width": 1500, "height": height})


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser while the block runs; there can be one at a time."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, url: str, *, height: int = TALL, locale: str = "en-US") -> Iterator[Viewer]:
    """Open the viewer at an address, without a session."""
    context = browser.new_context(viewport={"width": 1500, "height": height}, locale=locale)
    viewer = Viewer(context.new_page(), url)
    viewer.page.set_default_timeout(TIMEOUT * 1000)
    viewer.page.on("pageerror", lambda error: viewer.problems.append(str(error)))
    viewer.page.on("console", lambda said: viewer.problems.append(said.text) if said.type == "error" else None)
    yield viewer
    context.close()
