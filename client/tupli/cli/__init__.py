"""The command line: `tupli`."""
