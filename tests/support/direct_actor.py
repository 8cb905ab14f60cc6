"""A recorder process that goes straight to Kafka, as somebody would write it.

`python direct_actor.py ADDRESS GRANT BENCHMARK SPOOL COUNTER`: with a counter it walks until it is killed, with `-` it
plays CartPole to its end and prints its actions.
"""

import json
import mmap
import os
import sys

import tupli
from support.actor import Walk, single
from support.environments import make, play

STEPS, SEED = 300, 5


def main() -> None:
    address, grant, benchmark, spool, counter = sys.argv[1:6]
    if counter == "-":
        cartpole = make("cartpole")
        with tupli.record(cartpole, benchmark, transport=address, grant=grant, spool_dir=spool) as env:
            actions = play(env, STEPS, SEED)
        sys.stdout.write(json.dumps([int(action) for action in actions]))
        return
    descriptor = os.open(counter, os.O_RDWR)
    steps = memoryview(mmap.mmap(descriptor, 4096)).cast("Q")
    single(tupli.record(Walk(), benchmark, transport=address, grant=grant, spool_dir=spool), steps, 10**9)


if __name__ == "__main__":
    main()
