"""The pure core of the query service: filters to SQL, statements, the dataset stream."""
