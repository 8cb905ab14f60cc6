"""What can be wrong with a query, besides its filters.

    QueryError
    ├── BadCursor      a cursor that was not given out for this order
    ├── BadOrder       an order that names no key
    └── BadSelection   columns or statuses that do not exist

Filters raise `tupli_schemas.errors.FilterError` and `tupli_schemas.keys.UnknownKey`. All name the place.
"""

from tupli_schemas.errors import ContractError


class QueryError(ContractError):
    """A query that cannot mean anything; `place` says where."""


class BadCursor(QueryError):
    """A cursor that was not given out for this order."""


class BadOrder(QueryError):
    """An order that names no key."""


class BadSelection(QueryError):
    """Columns or statuses that do not exist."""
