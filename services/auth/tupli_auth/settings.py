"""Settings of the auth service, from `TUPLI_AUTH_*` variables; every figure has its unit in its name."""

from typing import Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tupli_auth.adapters.sealing import check_secret
from tupli_auth.core.addresses import check_issuer
from tupli_auth.core.errors import UnfitSetting

ADMINISTRATOR: Final = "admin"


class AuthSettings(BaseSettings):
    """What an operator may choose."""

    model_config = SettingsConfigDict(
        env_prefix="TUPLI_AUTH_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    issuer: str = Field(description="the address by which people and services reach this service")
    database: str = Field(description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
    secret: SecretStr = Field(description="seals the signing keys in the database; 32 characters or more")
    audience: str = Field(default="tupli", min_length=1, description="what access tokens are for")
    insecure_issuer: bool = Field(
        default=False,
        description="for development: an issuer that is reached without TLS, elsewhere than here",
    )

    # The first administrator
    administrator: str = Field(default=ADMINISTRATOR, description="the name of the first one")
    administrator_password: SecretStr | None = Field(
        default=None, description="left out: the first start prints a link that sets it, once"
    )

    # Passwords
    password_min_length: int = Field(default=12, ge=1, le=256, description="checked when one is set")
    password_hash_kib: int = Field(default=19_456, ge=8_192)
    password_hash_passes: int = Field(default=2, ge=1)
    password_hash_lanes: int = Field(default=1, ge=1)
    password_hashes_at_once: int = Field(default=4, ge=1)
    password_hashes_waiting: int = Field(default=64, ge=0)

    # How long things hold
    access_token_s: int = Field(default=600, ge=10, le=600)
    code_s: int = Field(default=60, ge=10, le=600)
    refresh_token_days: float = Field(
        default=30.0, gt=0, description="one that is not used ends after so long"
    )
    login_days: float = Field(default=180.0, gt=0, description="so long after a login its last token ends")
    session_idle_hours: float = Field(default=8.0, gt=0, description="of the pages")
    session_hours: float = Field(default=24.0, gt=0, description="of the pages, at most")
    key_days: float = Field(default=90.0, gt=0, description="for so long a key signs")

    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("secret", mode="after")
    @classmethod
    def _is_a_secret(cls, given: SecretStr) -> SecretStr:
        try:
            check_secret(given.get_secret_value())
        except UnfitSetting as error:
            raise ValueError(str(error).removeprefix("TUPLI_AUTH_SECRET ")) from error
        return given

    @classmethod
    def from_environment(cls) -> Self:
        """What the environment says.

        Raises:
            ValidationError: Something is missing, is not safe, or is none.
        """
        return cls()  # type: ignore[call-arg]  # the environment has what is required

    @model_validator(mode="after")
    def _is_reached_safely(self) -> Self:
        try:
            check_issuer(self.issuer, is_insecure=self.insecure_issuer)
        except UnfitSetting as error:
            raise ValueError(str(error)) from error
        return self
