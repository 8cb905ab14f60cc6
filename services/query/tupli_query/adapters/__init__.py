"""What the query service reaches the world with: the columnar store."""
