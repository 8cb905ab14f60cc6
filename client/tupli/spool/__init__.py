"""The spool: recordings on the local disk on their way to a server."""
