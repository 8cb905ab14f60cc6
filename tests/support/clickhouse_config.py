"""Configurations of the engine in process: an account with a reader's rights, and a host of a cluster.

Accounts cannot be made in process, for it has no place where they are kept; but the account that everybody has there
can be given rights and limits by a file, in the words of `GRANT`.
"""

from collections.abc import Mapping
from pathlib import Path

_USERS = """<clickhouse>
  <profiles><default><readonly>2</readonly>{limits}<constraints>{constraints}</constraints></default></profiles>
  <quotas><default/></quotas>
  <users><default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants>{grants}</grants></default></users>
</clickhouse>
"""
_READER = """<clickhouse>
  <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
  <users_config>{users}</users_config>
</clickhouse>
"""
_HOST = """<clickhouse>
  <macros><shard>01</shard><replica>r1</replica></macros>
  <zookeeper><implementation>testkeeper</implementation></zookeeper>
  <remote_servers><ours><shard><replica><host>localhost</host><port>9000</port></replica></shard></ours></remote_servers>
</clickhouse>
"""


def reader_config(folder: Path, grants: str, limits: Mapping[str, int]) -> Path:
    """Of an engine where everybody has these grants and limits alone."""
    users = folder / "users.xml"
    users.write_text(
        _USERS.format(
            limits="".join(f"<{name}>{value}</{name}>" for name, value in limits.items()),
            constraints="".join(f"<{name}><readonly/></{name}>" for name in limits),
            grants="".join(f"<query>GRANT {grant}</query>" for grant in grants.split(", ")),
        ),
        encoding="utf-8",
    )
    config = folder / "config.xml"
    config.write_text(_READER.format(users=users), encoding="utf-8")
    return config


def host_config(folder: Path) -> Path:
    """Of a host of the cluster `ours`, with the engine's own stand-in for Keeper: tables are made, and read-only."""
    config = folder / "host.xml"
    config.write_text(_HOST, encoding="utf-8")
    return config
