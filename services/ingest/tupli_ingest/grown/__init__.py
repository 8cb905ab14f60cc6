"""The grown system: gateways and workers over Kafka and ClickHouse, each a process of its own."""
