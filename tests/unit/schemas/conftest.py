"""Hypothesis writes its table of characters once per checkout; that is not the tests' I/O."""

import pytest
from hypothesis import strategies as st


@pytest.fixture(scope="session", autouse=True)
def _hypothesis_knows_its_characters() -> None:
    st.text(st.characters(exclude_categories=["Cs"])).validate()
    st.text(st.characters(codec="utf-8")).validate()
