"""The refresh grant (RFC 6749 section 6), with rotation (RFC 9700 section 4.14.2)."""

from typing import Any

from authlib.oauth2.rfc6749 import RefreshTokenGrant

from tupli_auth.accounts.work import Login, Work
from tupli_auth.adapters.grants import REPEAT_MS, Refresh
from tupli_auth.adapters.people import User
from tupli_auth.core.secrets import RANDOM_BYTES, SecretKind, hash_of, is_secret, successor_of
from tupli_auth.oauth.models import ALL_METHODS, TakenRefresh


class RotatingRefreshGrant(RefreshTokenGrant):
    """A refresh token is exchanged once. Who brings a used one ends its family: one of two who have it stole it.

    But for an answer that was lost: for five seconds, and as long as nobody used the successor, the same successor is
    given again (`successor_of`), so that of two processes that refresh at once both have the one that holds.
    """

    TOKEN_ENDPOINT_AUTH_METHODS = ALL_METHODS

    @property
    def _work(self) -> Work:
        work: Work = self.server.work
        return work

    def authenticate_refresh_token(self, refresh_token: str) -> Any:
        """A token that may be exchanged."""
        work = self._work
        if not is_secret(SecretKind.REFRESH, refresh_token):
            return None
        found = work.grants.take(hash_of(refresh_token))
        if found is None or found.family.revoked_at is not None:
            return None
        client = getattr(self.request.client, "get_client_id", str)()
        if found.family.client != client:  # another client's: it is refused, and ends nothing
            return None
        if min(found.ends_at, found.family.ends_at) <= work.now_ms:
            return None
        if found.used_at is not None and not self._may_repeat(refresh_token, found):
            work.grants.revoke(found.family.id, "refresh token used again", work.now_ms)
            work.audit.note("refresh token used again", about=found.family.user, client_id=client)
            return None
        return TakenRefresh(found)

    def authenticate_user(self, refresh_token: Any) -> User | None:
        """Whose token it is."""
        family = refresh_token.token.family
        self._work.login = Login(family.id, family.logged_in_at)
        return self._work.user(family.user)

    def issue_token(self, user: Any, refresh_token: Any) -> Any:
        """A new access token, and the successor of the refresh token."""
        token: dict[str, Any] = super().issue_token(user, refresh_token)
        token["refresh_token"] = self._successor(refresh_token.token)
        return token

    def revoke_old_credential(self, refresh_token: Any) -> None:
        """Nothing: it was used in the same step that made its successor."""

    def _successor(self, old: Refresh) -> str:
        work = self._work
        given = self.request.form["refresh_token"]
        if old.used_at is not None and old.nonce is not None:
            return successor_of(given, old.nonce)
        nonce = work.means.random(RANDOM_BYTES)
        new = successor_of(given, nonce)
        ends_at = min(work.now_ms + work.means.lifetimes.refresh_ms, old.family.ends_at)
        work.grants.use(old.hash, nonce, work.now_ms)
        work.grants.forget_nonces(old.family.id, but=old.hash)
        work.grants.add(hash_of(new), old.family.id, work.now_ms, ends_at)
        return new

    def _may_repeat(self, given: str, old: Refresh) -> bool:
        if old.used_at is None or old.nonce is None or self._work.now_ms - old.used_at > REPEAT_MS:
            return False
        return not self._work.grants.was_used(hash_of(successor_of(given, old.nonce)))
