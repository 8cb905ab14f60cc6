"""The embedded stream processor and catalogue projector: threads over the pure core."""
