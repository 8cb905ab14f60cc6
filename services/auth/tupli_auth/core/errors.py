"""What can go wrong in auth, split by what the caller does next.

AuthError
├── Refused             the input is at fault; the message may be shown to whoever sent it
│   ├── NameRefused     no name, or one that is taken
│   └── PasswordRefused too short, too long, or known to everybody
├── Unavailable         try again later; nothing was changed
│   └── Busy            too much is under way; says when to come back
├── UnfitSetting        do not start: a setting is not safe, or does not fit another
└── Bug                 a promise between our own parts is broken
"""


class AuthError(Exception):
    """Root of everything that auth raises on purpose."""


class Refused(AuthError):
    """The input is at fault; the message may be shown to whoever sent it."""


class NameRefused(Refused):
    """No name, or one that is taken."""


class PasswordRefused(Refused):
    """A password that is too short, too long, or known to everybody."""


class Unavailable(AuthError):
    """Try again later; nothing was changed."""


class Busy(Unavailable):
    """Too much is under way; `retry_after_s` says when to come back."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnfitSetting(AuthError):
    """A setting is not safe, or does not fit another; the message names it."""


class Bug(AuthError):
    """A promise between our own parts is broken."""
