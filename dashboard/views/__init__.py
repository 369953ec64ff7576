"""The pages: one module each, whose `show` draws it from what the address says."""
