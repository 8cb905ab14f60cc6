"""Looking for Docker leaves nothing behind, whether it is there or not."""

import gc

from support.containers import working_docker


def test_to_look_for_docker_leaves_no_socket_open() -> None:
    working_docker()
    gc.collect()  # what was left open would be a warning here, and warnings are errors
