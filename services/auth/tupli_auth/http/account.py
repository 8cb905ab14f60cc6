"""Pages of the account: one's personal access tokens, and devices that wait for an answer."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from tupli_auth.accounts.devices import DeviceAnswers, NoSuchCode
from tupli_auth.accounts.personal_tokens import PersonalTokenDesk, TokenNotMade
from tupli_auth.accounts.sign_in import LoggedIn, TooManyTries
from tupli_auth.http.pages import Pages
from tupli_auth.http.people import HOME, add_page, to_login
from tupli_auth.http.visitors import Visitor, Visitors
from tupli_auth.http.words import meaning
from tupli_schemas.access import CONTENT_REACH
from tupli_schemas.errors import InvalidId
from tupli_schemas.ids import parse_id


class AccountPages:
    """What the pages do. Every method blocks."""

    def __init__(
        self, visitors: Visitors, pages: Pages, desk: PersonalTokenDesk, devices: DeviceAnswers
    ) -> None:
        self._visitors = visitors
        self._pages = pages
        self._desk = desk
        self._devices = devices

    def account(self, _: Request, visitor: Visitor, __: Mapping[str, str]) -> Response:
        """Who is logged in, and which tokens there are."""
        return to_login(HOME) if visitor.login is None else self._account(visitor, visitor.login)

    def make_token(self, request: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """Make a token, and show it, once."""
        self._visitors.check(request, visitor, given.get("csrf", ""))
        if visitor.login is None:
            return to_login(HOME)
        scope = frozenset(str(word) for word in CONTENT_REACH if given.get(f"may_{word}") == "yes")
        days = given.get("days", "")
        number = int(days) if days.isascii() and days.isdecimal() and len(days) < 9 else 0
        try:
            made = self._desk.make(visitor.login, given.get("name", ""), scope, number, visitor.asker)
        except TokenNotMade as error:
            return self._account(visitor, visitor.login, wrong=f"No token was made: {error}.", status=422)
        return self._account(visitor, visitor.login, made=made)

    def revoke_token(self, request: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """End a token."""
        self._visitors.check(request, visitor, given.get("csrf", ""))
        if visitor.login is None:
            return to_login(HOME)
        try:
            family = parse_id(given.get("token", ""))
        except InvalidId:
            return self._account(visitor, visitor.login, wrong="There is no such token.", status=404)
        if not self._desk.revoke(visitor.login, family, visitor.asker):
            return self._account(visitor, visitor.login, wrong="There is no such token.", status=404)
        return RedirectResponse(HOME, 303)

    def device(self, _: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """Ask for the code; one that stands in the address is only filled in."""
        code = given.get("user_code", "")[:20]
        if visitor.login is None:
            return to_login("/device?" + urlencode({"user_code": code}))
        return self._ask_code(visitor, code)

    def look_up(self, request: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """Show what the device asks for."""
        self._visitors.check(request, visitor, given.get("csrf", ""))
        code = given.get("user_code", "")[:20]
        if visitor.login is None:
            return to_login("/device?" + urlencode({"user_code": code}))
        try:
            question = self._devices.question(code, visitor.login, visitor.asker)
        except (NoSuchCode, TooManyTries) as error:
            return self._wrong_code(visitor, code, error)
        return self._pages.show(
            "device_consent",
            client=question.client,
            user=visitor.login.user,
            user_code=code,
            address=question.address or "an address that is not known",
            words=meaning(question.scope),
            csrf=visitor.csrf,
        )

    def answer(self, request: Request, visitor: Visitor, given: Mapping[str, str]) -> Response:
        """Take the answer."""
        self._visitors.check(request, visitor, given.get("csrf", ""))
        code, may = given.get("user_code", ""), given.get("decision") == "allow"
        if visitor.login is None:
            return to_login("/device")
        try:
            self._devices.answer(code, visitor.login, visitor.asker, may=may)
        except (NoSuchCode, TooManyTries) as error:
            return self._wrong_code(visitor, code, error)
        heading = "The device is connected" if may else "The device was refused"
        return self._pages.show("told", heading=heading, text="You can close this page.")

    def _wrong_code(self, visitor: Visitor, code: str, error: NoSuchCode | TooManyTries) -> Response:
        if isinstance(error, NoSuchCode):
            return self._ask_code(visitor, code, wrong="No device shows this code now.", status=404)
        told = f"Too many wrong codes. Try again in {error.retry_after_s} s."
        response = self._ask_code(visitor, code, wrong=told, status=429)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response

    def _ask_code(self, visitor: Visitor, code: str, *, wrong: str = "", status: int = 200) -> Response:
        return self._pages.show("device", status, csrf=visitor.csrf, user_code=code, wrong=wrong)

    def _account(
        self, visitor: Visitor, login: LoggedIn, *, wrong: str = "", made: str = "", status: int = 200
    ) -> Response:
        values: dict[str, Any] = {
            "user": login.user,
            "csrf": visitor.csrf,
            "tokens": self._desk.list(login, visitor.asker),
            "words": sorted(CONTENT_REACH),
            "wrong": wrong,
            "made": made,
        }
        return self._pages.show("account", status, **values)


def routes(account: AccountPages, visitors: Visitors) -> APIRouter:
    """The pages."""
    router = APIRouter()
    for method, path, handler in (
        ("GET", HOME, account.account),
        ("POST", "/account/tokens", account.make_token),
        ("POST", "/account/tokens/revoke", account.revoke_token),
        ("GET", "/device", account.device),
        ("POST", "/device", account.look_up),
        ("POST", "/device/answer", account.answer),
    ):
        add_page(router, method, path, handler, visitors)
    return router
