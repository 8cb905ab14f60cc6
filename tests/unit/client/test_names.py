"""Names that users give are checked before anything is recorded under them."""

import pytest

from tupli.errors import InvalidInput
from tupli.names import scopes_of
from tupli.recording import record
from tupli.transport import FakeTransport


def test_scopes_are_none_one_or_several() -> None:
    assert scopes_of(None) == ()
    assert scopes_of("lab") == ("lab",)
    assert scopes_of(["lab", "global"]) == ("lab", "global")


@pytest.mark.parametrize("given", ["no such group!", "", ["lab", "a/b"]])
def test_a_scope_that_is_no_name_is_refused_before_anything_is_recorded(given: str | list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        record(None, "bench", publish_in=given, transport=FakeTransport())
    assert caught.value.place == "publish_in"
