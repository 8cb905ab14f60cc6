"""The address of the service itself: it comes from settings, never from a request."""

from urllib.parse import urlsplit

from tupli_auth.core.errors import UnfitSetting

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def check_issuer(issuer: str, *, is_insecure: bool = False) -> str:
    """The issuer itself, when it is one (RFC 8414 section 2): HTTPS, no query, no fragment, no slash at its end.

    Of the machine itself, or where somebody says so by name, it may be HTTP.

    Raises:
        UnfitSetting: It is none.
    """
    try:
        found = urlsplit(issuer)
        host, _ = found.hostname, found.port
    except ValueError as error:
        raise UnfitSetting("TUPLI_AUTH_ISSUER is no address") from error
    if found.scheme not in {"https", "http"} or not host or "@" in found.netloc:
        raise UnfitSetting("TUPLI_AUTH_ISSUER is no address of the kind https://host")
    if found.query or found.fragment or issuer.endswith(("/", "?", "#")) or not issuer.isascii():
        raise UnfitSetting("TUPLI_AUTH_ISSUER has a query, a fragment or a slash at its end")
    if found.scheme == "http" and host not in LOOPBACK_HOSTS and not is_insecure:
        raise UnfitSetting(
            "TUPLI_AUTH_ISSUER has no TLS: everybody on the way could read passwords (TUPLI_AUTH_INSECURE_ISSUER=true"
            " lets a development be)"
        )
    return issuer
