"""Pages: log in, log out, the account, and the link of the first start."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from tupli_auth.accounts.set_up import NoSuchLink, SetUp
from tupli_auth.accounts.sign_in import SignIn, TooManyTries, WrongCredentials
from tupli_auth.core.errors import PasswordRefused
from tupli_auth.http.forms import asked_of
from tupli_auth.http.pages import Pages
from tupli_auth.http.visitors import Visitor, Visitors

HOME: Final = "/account"
NEXT: Final = frozenset({"/oauth/authorize", "/device", HOME})
"""Where a login may lead: nowhere but here."""

Handler = Callable[[Request, Visitor, Mapping[str, str]], Response]


class PeoplePages:
    """What the pages do. Every method blocks."""

    def __init__(
        self, visitors: Visitors, pages: Pages, sign_in: SignIn, set_up: SetUp, *, min_length: int
    ) -> None:
        self._visitors = visitors
        self._pages = pages
        self._sign_in = sign_in
        self._set_up = set_up
        self._min_length = min_length

    def login_page(self, _: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """Ask for name and password."""
        return self._login(visitor, given)

    def log_in(self, request: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """Take name and password, and lead on."""
        self._visitors.check(request, visitor, given.get("csrf", ""))
        try:
            secret = self._sign_in.log_in(given.get("name", ""), given.get("password", ""), visitor.asker)
        except WrongCredentials:
            return self._login(visitor, given, wrong="Name or password is wrong.", status=401)
        except TooManyTries as error:
            told = f"Too many tries failed. Try again in {error.retry_after_s} s."
            response = self._login(visitor, given, wrong=told, status=429)
            response.headers["Retry-After"] = str(error.retry_after_s)
            return response
        response = RedirectResponse(next_of(given), 303)
        self._visitors.cookie.set_on(response, secret)  # a new one: nobody knew it before the login
        return response

    def log_out(self, request: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """End the login."""
        self._visitors.check(request, visitor, given.get("csrf", ""))
        self._sign_in.log_out(visitor.secret, visitor.asker)
        return RedirectResponse("/login", 303)

    def setup_page(self, _: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """Ask for the first password."""
        link = given.get("link", "")
        if not self._set_up.is_open(link, visitor.asker):
            return self._over()
        return self._setup(visitor, link)

    def set_up(self, request: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """Take the first password."""
        self._visitors.check(request, visitor, given.get("csrf", ""))
        link = given.get("link", "")
        try:
            self._set_up.use(link, given.get("password", ""), visitor.asker)
        except NoSuchLink:
            return self._over()
        except PasswordRefused as error:
            return self._setup(visitor, link, wrong=f"{error}.", status=422)
        return RedirectResponse("/login", 303)

    def _login(
        self, visitor: Visitor, given: Mapping[str, str], *, wrong: str = "", status: int = 200
    ) -> Response:
        name = given.get("name", "")
        values = {"csrf": visitor.csrf, "next": next_of(given), "name": name, "wrong": wrong}
        return self._pages.show("login", status, **values)

    def _setup(self, visitor: Visitor, link: str, *, wrong: str = "", status: int = 200) -> Response:
        values: dict[str, Any] = {
            "csrf": visitor.csrf,
            "link": link,
            "wrong": wrong,
            "min_length": self._min_length,
        }
        return self._pages.show("setup", status, **values)

    def _over(self) -> Response:
        text = "It was used already, or its time is over. A restart of the service prints a new one."
        return self._pages.show("told", 404, heading="This link is over", text=text)


def next_of(given: Mapping[str, str]) -> str:
    """Where a login leads, which is somewhere here."""
    asked = given.get("next", HOME)
    path = asked.partition("?")[0]
    return asked if path in NEXT else HOME


def to_login(then: str) -> Response:
    """Log in first."""
    return RedirectResponse("/login?" + urlencode({"next": then}), 303)


def routes(people: PeoplePages, visitors: Visitors, pages: Pages) -> APIRouter:
    """The pages."""
    router = APIRouter()
    for method, path, handler in (
        ("GET", "/login", people.login_page),
        ("POST", "/login", people.log_in),
        ("POST", "/logout", people.log_out),
        ("GET", "/setup", people.setup_page),
        ("POST", "/setup", people.set_up),
    ):
        add_page(router, method, path, handler, visitors)

    @router.get("/pages/style.css")
    async def style() -> Response:
        return pages.style()

    return router


def add_page(router: APIRouter, method: str, path: str, handler: Handler, visitors: Visitors) -> None:
    """Serve a page: what is given by its address or, where it was posted, by its form."""

    async def page(request: Request) -> Response:
        asked = await asked_of(request)
        given = asked.form if method == "POST" else asked.query
        return await run_in_threadpool(_shown, request, handler, given, visitors)

    router.add_api_route(path, page, methods=[method], response_class=Response)


def _shown(request: Request, handler: Handler, given: Mapping[str, str], visitors: Visitors) -> Response:
    visitor = visitors.of(request)
    response = handler(request, visitor, given)
    if visitor.is_new and "set-cookie" not in response.headers:
        visitors.cookie.set_on(response, visitor.secret)
    return response
