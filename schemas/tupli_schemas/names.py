"""Names of benchmarks and scopes: what may be one.

ASCII alone, so that two names that look alike are equal, and no `/`, which stands between an owner and a
name.
"""

import re
from typing import Final

from tupli_schemas.errors import ContractError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
NAME_RULE: Final = "up to 128 of A-Z a-z 0-9 . _ @ -, the first a letter or digit"


def check_name(name: object, place: str) -> None:
    """Say nothing of a name.

    Raises:
        ContractError: It is none; the message has the rule.
    """
    if not isinstance(name, str):
        raise ContractError(f"{name!r} is not a name: {NAME_RULE}", place=place)
    if NAME.fullmatch(name) is None:
        raise ContractError(f"{name[:140]!r} is not a name: {NAME_RULE}", place=place)
