"""The pages in a real browser: what its rules for cookies, forms and redirects make of them."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from support.auth_service import (
    ADMINISTRATOR,
    PASSWORD,
    AuthService,
    Pkce,
    authorization,
    exchange,
    post,
    serving_auth,
)
from support.real_browser import chromium


class Callback:
    """What `tupli login` waits with: a server on loopback that keeps what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        made = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if urlsplit(self.path).path == "/callback":
                    made.told = dict(parse_qsl(urlsplit(self.path).query))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<title>Back at the program</title>")

            def log_message(self, *_: object) -> None:
                """Nothing: codes are in these lines."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/callback"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def auth(tmp_path: Path) -> Iterator[AuthService]:
    with serving_auth(f"sqlite:///{tmp_path}/auth.db") as made:
        yield made


@pytest.fixture
def callback() -> Iterator[Callback]:
    made = Callback()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(params=[1_000, 360], ids=["a desk", "a phone"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path, width=request.param) as made:
        yield made


def log_in(browser: Chrome, password: str = PASSWORD) -> None:
    """By the keyboard alone: the page puts one where one types."""
    browser.switch_to.active_element.send_keys(ADMINISTRATOR, Keys.TAB, password, Keys.ENTER)


def press(browser: Chrome, text: str) -> None:
    browser.find_element(By.XPATH, f"//button[normalize-space()='{text}']").click()


def heading(browser: Chrome, text: str) -> None:
    """Wait until a page has this heading."""
    leaving = [StaleElementReferenceException]  # the page before this one
    WebDriverWait(browser, 30, ignored_exceptions=leaving).until(
        lambda at: any(one.text == text for one in at.find_elements(By.TAG_NAME, "h1")), browser.current_url
    )


def test_a_program_gets_its_code_through_login_and_consent(
    auth: AuthService, browser: Chrome, callback: Callback
) -> None:
    pkce = Pkce()

    browser.get(auth.url + authorization(pkce, redirect_uri=callback.address, scope="record read"))
    heading(browser, "Log in")
    log_in(browser, "not the password")
    WebDriverWait(browser, 30).until(lambda at: "Name or password is wrong." in at.page_source)
    browser.find_element(By.ID, "password").send_keys(PASSWORD, Keys.ENTER)
    heading(browser, "Allow Tupli's command line?")
    press(browser, "Allow")
    WebDriverWait(browser, 30).until(lambda at: at.title == "Back at the program")

    assert callback.told["iss"] == auth.url
    tokens = exchange(auth.url, pkce, callback.told["code"], redirect_uri=callback.address)
    assert tokens.json()["scope"] == "read record"
    browser.get(f"{auth.url}/account")
    (cookie,) = browser.get_cookies()
    assert cookie["name"] == "__Host-tupli"
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
    assert browser.execute_script("return document.cookie") == ""


def test_a_device_is_connected_a_token_made_and_somebody_logs_out(auth: AuthService, browser: Chrome) -> None:
    device = post(auth.url, "/oauth/device", {"client_id": "tupli-cli", "scope": "read"}).json()

    browser.get(device["verification_uri_complete"])
    heading(browser, "Log in")
    log_in(browser)
    heading(browser, "Connect a device")
    press(browser, "Go on")
    heading(browser, "Allow Tupli's command line?")
    assert device["user_code"] in browser.page_source
    press(browser, "Allow")
    heading(browser, "The device is connected")
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    form = {"grant_type": grant, "client_id": "tupli-cli", "device_code": device["device_code"]}
    assert post(auth.url, "/oauth/token", form).json()["scope"] == "read"

    browser.get(f"{auth.url}/account")
    heading(browser, ADMINISTRATOR)
    browser.find_element(By.ID, "name").send_keys("robot")
    press(browser, "Make it")
    WebDriverWait(browser, 30).until(lambda at: at.find_elements(By.ID, "token"))
    assert re.fullmatch(r"tupli_pat_\w+", browser.find_element(By.ID, "token").text)
    width = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]  # nothing has to be moved aside to be read
    press(browser, "Revoke")
    WebDriverWait(browser, 30).until(lambda at: "You have none." in at.page_source)
    press(browser, "Log out")
    heading(browser, "Log in")
    browser.get(f"{auth.url}/account")
    heading(browser, "Log in")


def test_another_site_neither_frames_nor_submits_the_pages(
    auth: AuthService, browser: Chrome, callback: Callback
) -> None:
    browser.get(f"{auth.url}/login")
    log_in(browser)
    heading(browser, ADMINISTRATOR)

    browser.get(callback.address.replace("127.0.0.1", "localhost"))  # another site, for the browser
    browser.execute_script(
        "document.body.innerHTML = '<iframe src=\"' + arguments[0] + '\"></iframe>'", f"{auth.url}/account"
    )
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    assert "Tupli" not in browser.page_source
    browser.switch_to.default_content()
    browser.execute_script(
        "document.body.innerHTML = '<form method=post action=\"' + arguments[0] + '\"><button>x</button></form>';"
        "document.forms[0].submit()",
        f"{auth.url}/account/tokens",
    )
    WebDriverWait(browser, 30).until(lambda at: "another site" in at.page_source)
