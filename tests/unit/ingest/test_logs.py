"""What others log through the standard library comes out as our lines."""

import logging

import orjson
import pytest
import structlog

from tupli_ingest.logs import adopt_standard_logging, configure_logging, request_id, trace_id


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


def test_every_line_names_its_service_and_the_ids_of_its_request_and_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logging(form="json", level="info", service="tupli-test")
    adopt_standard_logging(form="json", level="info", service="tupli-test")
    tokens = request_id.set("mine-1"), trace_id.set("0af7")
    try:
        structlog.get_logger("any").info("ours")
        logging.getLogger("other").warning("theirs")
    finally:
        request_id.reset(tokens[0])
        trace_id.reset(tokens[1])
    structlog.get_logger("any").info("outside")
    ours, theirs, outside = (orjson.loads(line) for line in capsys.readouterr().err.splitlines())
    for line in (ours, theirs):
        assert (line["service"], line["request_id"], line["trace_id"]) == ("tupli-test", "mine-1", "0af7")
    assert outside["service"] == "tupli-test"
    assert not {"request_id", "trace_id"} & outside.keys()
