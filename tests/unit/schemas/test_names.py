"""Names of benchmarks and scopes."""

from typing import Any

import pytest

from tupli_schemas.errors import ContractError
from tupli_schemas.names import NAME_RULE, check_name


@pytest.mark.parametrize("name", ["a", "0", "CartPole-v1", "a.b_c@d-e", "x" * 128])
def test_names(name: str) -> None:
    check_name(name, "name")


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", ".a", "-a", "é", "a\n", "x" * 129, None, 5, b"a"])
def test_what_is_no_name_is_told_the_rule(name: Any) -> None:
    with pytest.raises(ContractError) as caught:
        check_name(name, "benchmark")
    assert caught.value.place == "benchmark"
    assert caught.value.reason.endswith(f"is not a name: {NAME_RULE}")
    assert len(str(caught.value)) < 300
