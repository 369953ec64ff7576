"""To be made."""
