"""An address counts before an image, and an image before what the tests bring; nothing waits for ever."""

import threading

import pytest

from support.containers import Choice, choose


class Docker:
    """Has these images, and can pull those; `gate` holds up what it pulls."""

    def __init__(self, *has: str, pulls: tuple[str, ...] = ()) -> None:
        self._has, self._pulls = has, pulls
        self.gate = threading.Event()
        self.gate.set()
        self.pulled: list[str] = []

    def has(self, image: str) -> bool:
        return image in self._has

    def pull(self, image: str) -> bool:
        self.gate.wait(10)
        self.pulled.append(image)
        return image in self._pulls


@pytest.mark.parametrize(
    ("given", "docker", "chosen"),
    [
        ("host:1", Docker("i"), Choice("address", "host:1")),
        ("host:1", None, Choice("address", "host:1")),
        ("", None, Choice("own")),
        ("", Docker("i"), Choice("image")),
        ("", Docker(pulls=("i",)), Choice("image")),
        ("", Docker("other"), Choice("own")),
    ],
)
def test_the_order(given: str, docker: Docker | None, chosen: Choice) -> None:
    assert choose(given, "i", lambda: docker) == chosen


def test_docker_is_not_asked_where_an_address_is_given() -> None:
    def fail() -> Docker:
        raise AssertionError("asked")

    assert choose("host:1", "i", fail).source == "address"


def test_an_image_that_is_there_is_not_pulled() -> None:
    docker = Docker("i")
    choose("", "i", lambda: docker)
    assert docker.pulled == []


def test_a_pull_that_takes_too_long_is_not_waited_for() -> None:
    docker = Docker(pulls=("i",))
    docker.gate.clear()
    assert choose("", "i", lambda: docker, pull_seconds=0.01) == Choice("own")
    docker.gate.set()


def test_a_choice_in_words() -> None:
    assert Choice("address", "host:1").told("image:1", "jars") == "host:1"
    assert Choice("image").told("image:1", "jars") == "image:1 in Docker"
    assert Choice("own").told("image:1", "jars") == "jars"
