"""A request that is refused: the one error of the service that a caller is told word for word."""

from typing import Any

from tupli_schemas.problems import Problem


class Refused(Exception):
    """The request is refused; `problem` is the answer."""

    def __init__(self, code: str, detail: str, *, place: str = "", **members: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.problem = Problem(code, detail, place, members=members)
