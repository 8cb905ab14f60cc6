"""The ingest service over HTTP: routers, problem documents, limits."""
