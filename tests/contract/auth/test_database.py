"""What both databases do: migrations, transactions that end whole, and a secret that has to be the right one."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr

from support.auth_service import auth_settings
from tupli_auth.adapters.database import Database
from tupli_auth.adapters.migrate import migrate
from tupli_auth.adapters.people import People, User
from tupli_auth.adapters.signing_keys import KeyTimes, SigningKeys, signing
from tupli_auth.adapters.tables import METADATA, NAMES, USERS
from tupli_auth.app import AuthParts
from tupli_auth.core.errors import NameRefused, UnfitSetting
from tupli_schemas.ids import make_id

DAY_MS = 24 * 3_600 * 1_000


@pytest.fixture
def database(database_url: str) -> Database:
    made = Database(database_url)
    migrate(made)
    return made


def test_migrations_lead_to_the_tables_of_the_program(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    assert migrate(database) == "0001"
    database.close()


def test_a_database_of_a_newer_program_is_left_alone(database: Database) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(UnfitSetting, match="newer program"):
        migrate(database)
    database.close()


def test_four_that_begin_at_once_make_one_administrator_and_one_key(database_url: str) -> None:
    parts = [AuthParts(auth_settings(database_url)) for _ in range(4)]
    all_ready = Barrier(4)

    def begin(one: AuthParts) -> None:
        all_ready.wait()
        one.start()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(begin, parts))

    with parts[0].database.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(USERS)).scalar() == 1
    assert len({key.kid for one in parts for key in one.office.signing_keys()}) == 1
    for one in parts:
        one.close()


def test_another_secret_is_told_and_nothing_is_changed(database_url: str) -> None:
    first = AuthParts(auth_settings(database_url))
    first.start()
    first.close()
    other = AuthParts(auth_settings(database_url, secret=SecretStr("Zk3pX9bQv1Lw8RtYc6NmHs2GdJf4Ue70")))

    with pytest.raises(UnfitSetting, match="TUPLI_AUTH_SECRET is not the one"):
        other.start()
    other.close()


def test_what_raises_leaves_nothing(database: Database) -> None:
    def add_and_fail() -> None:
        with database.transaction() as connection:
            People(connection).add(User(make_id(1, 1), "somebody"), 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_fail()
    with database.reading() as connection:
        assert connection.execute(sa.select(NAMES)).all() == []
    database.close()


def test_of_eight_who_want_one_name_one_has_it(database: Database) -> None:
    def want(number: int) -> bool:
        try:
            with database.transaction() as connection:
                name = "Somebody" if number % 2 else "somebody"
                People(connection).add(User(make_id(1, number), name), 1)
        except NameRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(want, range(8))) == 1
    database.close()


def test_keys_are_published_before_they_sign_and_kept_after_it(database: Database) -> None:
    parts = AuthParts(auth_settings("sqlite:////nowhere/x.db"))
    sealer, times = parts.office.means.sealer, KeyTimes()

    def tend(now_ms: int) -> tuple[int, str]:
        """How many are published, and which signs."""
        with database.transaction() as connection:
            keys = SigningKeys(connection, sealer)
            keys.tend(now_ms, times)
            return len(keys.all()), signing(keys.all(), now_ms).kid

    one, first = tend(0)
    assert tend(89 * DAY_MS - 1) == (1, first)
    assert tend(89 * DAY_MS) == (2, first)  # a day before it signs
    assert tend(90 * DAY_MS - 1) == (2, first)
    two, second = tend(90 * DAY_MS)
    assert (one, two) == (1, 2)
    assert second != first
    assert tend(91 * DAY_MS) == (2, second)  # the first one still verifies
    assert tend(91 * DAY_MS + 1) == (1, second)
    database.close()
    parts.close()


def test_a_key_that_is_revoked_is_gone_at_once(database: Database) -> None:
    parts = AuthParts(auth_settings("sqlite:////nowhere/x.db"))
    with database.transaction() as connection:
        keys = SigningKeys(connection, parts.office.means.sealer)
        keys.tend(0, KeyTimes())
        (key,) = keys.all()
        assert keys.revoke(key.kid)
        assert not keys.revoke(key.kid)
        assert keys.all() == []
    database.close()
    parts.close()
