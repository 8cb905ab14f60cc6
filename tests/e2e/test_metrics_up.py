"""`tupli up` shows its figures to programs of its machine, and to no page that a browser shows."""

from pathlib import Path

import httpx

from support.metrics import faults_of_names, scrape
from support.server_process import ServerProcess


def test_one_process_shows_what_all_of_its_parts_count(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        found = scrape(server.url)
        assert found.each("tupli_build_info", service="tupli") == [1]
        assert found.each("tupli_serving_generation") == [1]
        assert found.sum("tupli_accepted_steps_total") == 0
        assert faults_of_names(found.families) == []
        foreign = httpx.get(f"{server.url}/metrics", headers={"host": "evil.example"}, trust_env=False)
        assert foreign.status_code == 403
        assert foreign.json()["code"] == "foreign_origin"
