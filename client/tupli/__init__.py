"""Tupli client."""
