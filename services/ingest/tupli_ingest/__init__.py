"""Tupli ingest service."""
