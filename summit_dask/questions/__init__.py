"""What one asks of a store."""
