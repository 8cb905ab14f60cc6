"""Files of TLS, looked at before a process starts: one that is not there would look like a server that is away."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path


def require_files(files: Mapping[str, Path | None], load: Callable[[], object]) -> None:
    """See that files can be read, and hold what they should.

    Args:
        files: Names of settings to what they say; None: nothing.
        load: Takes them all, as a connection does.

    Raises:
        OSError: One cannot be read, or they hold something else; the message has the settings and the paths.
    """
    given = {setting: path for setting, path in files.items() if path is not None}
    for setting, path in given.items():
        try:
            path.open("rb").close()
        except OSError as error:
            raise OSError(error.errno, f"{setting}: {error.strerror}", str(path)) from error
    try:
        load()
    except ssl.SSLError as error:  # it names none of them
        named = ", ".join(f"{setting}={path}" for setting, path in given.items())
        raise OSError(f"{named}: no certificates and keys that belong together ({error.reason})") from error
