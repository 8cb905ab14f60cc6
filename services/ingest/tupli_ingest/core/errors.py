"""What can go wrong in ingest, split by what the caller does next.

IngestError
├── Unavailable          try again later, nothing was lost
│   ├── Overloaded       too much waits already; nothing of the call was kept
│   ├── LogUnavailable   the log cannot be reached or does not answer
│   └── StoreUnavailable the store cannot be reached or does not answer
├── Full                 answer "no space" and go on when there is some
│   ├── LogFull          the log's disk or quota is full; nothing of the call was kept
│   └── StoreFull        the store's disk is full; the write may be repeated as it is
├── Refused              do not repeat: the input is at fault
│   ├── RequestRefused   a request to the gateway; names the event and the field
│   ├── RowsRefused      rows that the store will never take; found by halving
│   │   └── NoMoreTables there are as many step tables as the limit allows
│   └── GrantRefused     a recording grant that allows nothing
├── TooManyDeadLetters   stop the process: a bad deploy must not drain into dead letters
├── NotInstalled         do not start: a setting asks for a package that is not there
├── UnfitStore           do not start: the store is laid out in another way than the settings say
├── UnfitTopics          do nothing: there are topics of another kind than what was asked for
└── Bug                  stop the process: a promise between our own parts is broken
"""

from typing import ClassVar

from tupli_schemas.problems import Problem


class IngestError(Exception):
    """Root of everything that ingest raises on purpose."""


class Unavailable(IngestError):
    """Try again later; nothing was lost."""


class Overloaded(Unavailable):
    """Too much waits already; nothing of the call was kept."""


class LogUnavailable(Unavailable):
    """The log cannot be reached or does not answer."""


class StoreUnavailable(Unavailable):
    """The store cannot be reached or does not answer."""


class Full(IngestError):
    """There is no space; go on when there is some."""


class LogFull(Full):
    """The log's disk or quota is full; nothing of the call was kept."""


class StoreFull(Full):
    """The store's disk is full; the write may be repeated as it is."""


class Refused(IngestError):
    """The input is at fault; repeating it as it is cannot help."""


class RequestRefused(Refused):
    """A request that breaks the contract; `problem` is the answer, `index` the event it is about."""

    def __init__(self, problem: Problem, index: int | None = None) -> None:
        super().__init__(f"{problem.place}: {problem.detail}" if problem.place else problem.detail)
        self.problem = problem
        self.index = index


class RowsRefused(Refused):
    """Rows that the store will never take, however often they are written; `code` is that of their dead letters."""

    code: ClassVar[str] = "rows_refused"


class NoMoreTables(RowsRefused):
    """Rows of a layout without a step table, and no more tables are made: a caller's variety, and no fault of ours."""

    code = "no_more_tables"


class GrantRefused(Refused):
    """A recording grant that allows nothing: not verified, or not at the time that counts."""


class TooManyDeadLetters(IngestError):
    """More dead letters than the limit allows; a person must look."""


class NotInstalled(IngestError):
    """A setting asks for a package that is not there; the message says what to install."""


class UnfitStore(IngestError):
    """The store is laid out in another way than the settings say; the message names what is there."""


class UnfitTopics(IngestError):
    """There are topics of another kind than what was asked for; the message says which and how they differ."""


class Stopped(Exception):
    """Somebody asked to stop while this waited; nothing went wrong."""


class Bug(IngestError):
    """A promise between our own parts is broken."""
