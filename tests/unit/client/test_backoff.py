"""What fails is tried again later and later, up to some seconds."""

from tupli.recording.backoff import MAX_SECONDS, Backoff, reason_of


def test_pauses_grow_up_to_some_seconds() -> None:
    backoff, pauses = Backoff(), []
    for _ in range(40):
        backoff.failed(1_000.0, "why")
        pauses.append(backoff.not_before - 1_000.0)
    assert 0.07 <= pauses[0] <= 0.1
    assert all(0.07 * 2**n <= pause <= 0.1 * 2**n + 1e-9 for n, pause in enumerate(pauses[:5]))
    assert all(0.7 * MAX_SECONDS <= pause <= MAX_SECONDS for pause in pauses[6:])
    assert (backoff.failures, backoff.reason) == (40, "why")


def test_what_works_begins_anew() -> None:
    backoff = Backoff()
    for _ in range(9):
        backoff.failed(0.0, "why")
    backoff.told = "it was told"
    backoff.worked()
    assert (backoff.failures, backoff.reason, backoff.told) == (0, "", "")
    backoff.failed(0.0, "why")
    assert backoff.not_before <= 0.1


def test_a_reason_is_read_in_a_sentence() -> None:
    assert (reason_of(ValueError("no")), reason_of(MemoryError())) == ("ValueError: no", "MemoryError")
