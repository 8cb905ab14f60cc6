"""Chromium without a window, driven over its own protocol; Debian's programs."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

NOWHERE = "no Chromium: apt-get install chromium chromium-driver"


@contextmanager
def chromium(folder: Path, *, width: int = 1_000) -> Iterator[Chrome]:
    """A browser that nobody has used, with its data in `folder`."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert program is not None, NOWHERE
    assert driver is not None, NOWHERE
    options = ChromeOptions()
    options.binary_location = program
    for flag in (
        "headless=new",
        "no-sandbox",  # as root it does not start otherwise
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "no-proxy-server",
        f"window-size={width},900",
        f"user-data-dir={folder}/chromium",
    ):
        options.add_argument(f"--{flag}")
    os.environ["SE_OFFLINE"] = "true"
    browser = Chrome(options, Service(driver))
    try:
        browser.set_page_load_timeout(60)
        yield browser
    finally:
        browser.quit()
