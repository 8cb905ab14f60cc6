"""What others log through the standard library comes out as our lines."""

import logging

import orjson
import pytest

from tupli_ingest.logs import adopt_standard_logging


def test_lines_of_the_standard_library_are_ours_without_their_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    adopt_standard_logging(form="json", level="info")
    extra = {"color_message": "Started [%d]", "kept": 7}
    logging.getLogger("uvicorn.error").info("Started %d", 5, extra=extra)
    line = orjson.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["kept"]) == ("Started 5", "info", 7)
    assert "color_message" not in line
