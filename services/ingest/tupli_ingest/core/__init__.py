"""The pure core of ingest: no I/O, no clock, no event loop; adapters and the processor drive it through `ports`."""
