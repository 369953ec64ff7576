"""Files of other programs: the original's, tables, pictures."""
