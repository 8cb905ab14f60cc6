"""Tupli contracts: events, step schemas, spaces, filters, resources; pure, shared by client and services."""
