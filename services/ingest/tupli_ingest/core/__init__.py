"""The pure core of ingest: no I/O, no clock, no event loop.

Adapters and the processor drive it through `ports`.
"""
