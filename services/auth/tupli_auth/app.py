"""The auth service, put together."""

import secrets
import threading
from typing import Final

import structlog
from fastapi import FastAPI, Response
from starlette.concurrency import run_in_threadpool

from tupli_auth.accounts.devices import DeviceAnswers
from tupli_auth.accounts.personal_tokens import PersonalTokenDesk
from tupli_auth.accounts.set_up import Administrator, SetUp
from tupli_auth.accounts.sign_in import SessionTimes, SignIn
from tupli_auth.accounts.work import DAY_MS, Lifetimes, Means, Office
from tupli_auth.adapters.common_passwords import is_common
from tupli_auth.adapters.database import Database
from tupli_auth.adapters.hashing import HashingLimits, Passwords
from tupli_auth.adapters.migrate import migrate
from tupli_auth.adapters.sealing import Sealer
from tupli_auth.adapters.signing_keys import KeyTimes
from tupli_auth.clock import now_ms
from tupli_auth.core.errors import Unavailable
from tupli_auth.core.passwords import PasswordRules
from tupli_auth.http import account, authorize, endpoints, people
from tupli_auth.http.account import AccountPages
from tupli_auth.http.authorize import Authorize
from tupli_auth.http.pages import Pages, cookie_of
from tupli_auth.http.people import PeoplePages
from tupli_auth.http.problems import RequestContext, install_problem_answers
from tupli_auth.http.visitors import Visitors
from tupli_auth.settings import AuthSettings

HOUR_MS: Final = 3_600 * 1_000
TEND_SECONDS: Final = 600.0


class AuthParts:
    """The parts of a running service, between `start` and `close`."""

    def __init__(self, settings: AuthSettings) -> None:
        self.settings = settings
        self.database = Database(settings.database)
        self.office = Office(self.database, _means(settings))
        self.passwords = Passwords(
            HashingLimits(
                settings.password_hash_kib,
                settings.password_hash_passes,
                settings.password_hash_lanes,
                settings.password_hashes_at_once,
                settings.password_hashes_waiting,
            )
        )
        rules = PasswordRules(is_common, settings.password_min_length)
        self.set_up = SetUp(self.office, self.passwords, rules)
        times = SessionTimes(
            int(settings.session_idle_hours * HOUR_MS), int(settings.session_hours * HOUR_MS)
        )
        self.sign_in = SignIn(self.office, self.passwords, times)
        self.personal_tokens = PersonalTokenDesk(self.office)
        self.devices = DeviceAnswers(self.office)
        self._stop = threading.Event()
        self._tender = threading.Thread(target=self._tend, name="tender", daemon=True)

    def start(self) -> str | None:
        """Bring the database to this version and make what is missing; the link of the first start, while there is one.

        Raises:
            AuthError: It cannot begin; nothing was half made.
        """
        migrate(self.database)
        password = self.settings.administrator_password
        first = Administrator(
            self.settings.administrator, None if password is None else password.get_secret_value()
        )
        link = self.set_up.begin(first)
        self.office.tend()
        self._tender.start()
        return link

    def close(self) -> None:
        """Let go of everything."""
        self._stop.set()
        if self._tender.is_alive():
            self._tender.join()
        self.database.close()

    def _tend(self) -> None:
        log = structlog.get_logger("tupli_auth")
        while not self._stop.wait(TEND_SECONDS):
            try:
                self.office.tend()
            except Unavailable as error:
                log.warning("keys were not tended", error=str(error))


def make_app(parts: AuthParts) -> FastAPI:
    """The service over HTTP."""
    settings, office = parts.settings, parts.office
    app = FastAPI(title="Tupli auth", docs_url=None, redoc_url=None, openapi_url=None)
    install_problem_answers(app)
    pages = Pages()
    cookie = cookie_of(settings.issuer, is_insecure=settings.insecure_issuer)
    visitors = Visitors(office.means, parts.sign_in, cookie)
    asks = PeoplePages(visitors, pages, parts.sign_in, parts.set_up, min_length=settings.password_min_length)
    app.include_router(endpoints.routes(office))
    app.include_router(people.routes(asks, visitors, pages))
    accounts = AccountPages(visitors, pages, parts.personal_tokens, parts.devices)
    app.include_router(account.routes(accounts, visitors))
    app.include_router(authorize.routes(Authorize(office, visitors, pages)))

    @app.get("/livez")
    async def livez() -> Response:
        return Response("ok", media_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> Response:
        await run_in_threadpool(_asks_database, parts.database)
        return Response("ok", media_type="text/plain")

    app.add_middleware(RequestContext)
    return app


def _asks_database(database: Database) -> None:
    with database.reading() as connection:
        connection.exec_driver_sql("SELECT 1")


def _means(settings: AuthSettings) -> Means:
    return Means(
        issuer=settings.issuer,
        audience=settings.audience,
        sealer=Sealer(settings.secret.get_secret_value()),
        random=secrets.token_bytes,
        clock=now_ms,
        lifetimes=Lifetimes(
            access_s=settings.access_token_s,
            code_ms=settings.code_s * 1_000,
            refresh_ms=int(settings.refresh_token_days * DAY_MS),
            login_ms=int(settings.login_days * DAY_MS),
        ),
        key_times=KeyTimes(signs_ms=int(settings.key_days * DAY_MS)),
    )
