"""Tupli query service."""
