"""What is known: records, their vectors, and search by meaning."""
