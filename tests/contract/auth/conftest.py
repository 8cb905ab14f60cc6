"""Everything here runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.auth_service import AuthService, Browser, serving_auth
from support.postgres import new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    return f"sqlite:///{tmp_path}/auth.db" if request.param == "sqlite" else new_database()


@pytest.fixture
def auth(database_url: str) -> Iterator[AuthService]:
    with serving_auth(database_url) as made:
        yield made


@pytest.fixture
def browser(auth: AuthService) -> Iterator[Browser]:
    """Somebody who is logged in."""
    made = auth.browser()
    assert made.log_in().status_code == 303
    yield made
    made.close()
