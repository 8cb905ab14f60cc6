"""Recording of live environments."""

from tupli.recording.api import Recorder, record
from tupli.recording.vector_wrapper import TupliVectorEnvWrapper
from tupli.recording.wrapper import TupliEnvWrapper

__all__ = ["Recorder", "TupliEnvWrapper", "TupliVectorEnvWrapper", "record"]
