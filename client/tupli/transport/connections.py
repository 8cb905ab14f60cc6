"""HTTP connections that end with whoever opened them, also when nobody closes them."""

import os
import weakref

import httpx


def connections_of(owner: object, timeout: httpx.Timeout) -> httpx.Client:
    """A client for `owner`; it is closed when the owner is gone, but never by a forked child."""
    client = httpx.Client(timeout=timeout, headers={"user-agent": "tupli-client"})
    weakref.finalize(owner, _close, client, os.getpid()).atexit = False
    return client


def _close(client: httpx.Client, pid: int) -> None:
    if os.getpid() == pid:
        client.close()
