"""Storages: where benchmarks, episodes and datasets are kept."""

from tupli.storage.api import TupliAPIClient

__all__ = ["TupliAPIClient"]
