"""The authorization endpoint (RFC 6749 section 3.1): who asks for what, and whether somebody allows it."""

from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import OAuth2Error
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from tupli_auth.accounts.sign_in import LoggedIn
from tupli_auth.accounts.work import Login, Office, Work
from tupli_auth.http.endpoints import made_of
from tupli_auth.http.forms import asked_of
from tupli_auth.http.pages import Pages
from tupli_auth.http.people import to_login
from tupli_auth.http.visitors import Visitor, Visitors
from tupli_auth.http.words import meaning
from tupli_auth.oauth.asked import Asked
from tupli_auth.oauth.server import OAuthServer

PATH: Final = "/oauth/authorize"


class Authorize:
    """Asks somebody. Every method blocks."""

    def __init__(self, office: Office, visitors: Visitors, pages: Pages) -> None:
        self._office = office
        self._visitors = visitors
        self._pages = pages

    def ask(self, request: Request, asked: Asked) -> Response:
        """Show what is asked for, to who is logged in."""
        visitor = self._visitors.of(request)
        with self._office.look(visitor.asker) as work:
            response = self._asked(work, asked, visitor)
        if visitor.is_new:
            self._visitors.cookie.set_on(response, visitor.secret)
        return response

    def decide(self, request: Request, asked: Asked) -> Response:
        """Take the answer."""
        visitor = self._visitors.of(request)
        self._visitors.check(request, visitor, asked.form.get("csrf", ""))
        may = asked.form.get("decision") == "allow"
        asked = replace(asked, method="GET", form={})
        with self._office.work(visitor.asker) as work:
            if visitor.login is None:
                return to_login(_address(asked))
            login = Login(logged_in_at=visitor.login.session.logged_in_at)
            server = OAuthServer(work)
            try:
                return made_of(server.decide(asked, visitor.login.user, login, may=may))
            except OAuth2Error as error:
                return self._refused(server, asked, error)

    def _asked(self, work: Work, asked: Asked, visitor: Visitor) -> Response:
        server = OAuthServer(work)
        user = None if visitor.login is None else visitor.login.user
        try:
            grant = server.consent(asked, user)
        except OAuth2Error as error:
            return self._refused(server, asked, error)
        redirect = str(grant.redirect_uri)
        prompts = asked.query.get("prompt", "").split()
        if "none" in prompts:  # nobody is asked, and without a question nobody allows anything
            code = "login_required" if visitor.login is None else "consent_required"
            return self._refused(server, asked, OAuth2Error(error=code, redirect_uri=redirect))
        if visitor.login is None or "login" in prompts or _is_too_old(visitor.login, asked, work.now_ms):
            return to_login(_address(asked, but="prompt" if "login" in prompts else ""))
        oauth: Any = grant.request
        return self._pages.show(
            "consent",
            leads_to=redirect,
            client=oauth.client.client,
            user=visitor.login.user,
            words=meaning(oauth.scope.split()),
            redirect=redirect,
            action=_address(asked),
            csrf=visitor.csrf,
        )

    def _refused(self, server: OAuthServer, asked: Asked, error: OAuth2Error) -> Response:
        """Told to the client where its address is its own, and to the person where it is not."""
        if error.redirect_uri:
            error.state = asked.query.get("state")
            return made_of(server.refusal(asked, error))
        text = str(error.get_error_description() or error.error)
        return self._pages.show("told", 400, heading="This request cannot be answered", text=text)


def routes(authorize: Authorize) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.get(PATH)
    async def ask(request: Request) -> Response:
        return await run_in_threadpool(authorize.ask, request, await asked_of(request))

    @router.post(PATH)
    async def decide(request: Request) -> Response:
        return await run_in_threadpool(authorize.decide, request, await asked_of(request))

    return router


def _address(asked: Asked, *, but: str = "") -> str:
    return f"{PATH}?" + urlencode({name: value for name, value in asked.query.items() if name != but})


def _is_too_old(login: LoggedIn, asked: Asked, now_ms: int) -> bool:
    """Whether a login is older than the client will have it (`max_age`, OpenID Connect Core section 3.1.2.1)."""
    age = asked.query.get("max_age", "")
    if not age.isascii() or not age.isdecimal() or len(age) > 9:
        return False
    return now_ms - login.session.logged_in_at > int(age) * 1_000
