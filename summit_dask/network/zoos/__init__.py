"""Where networks come from by name: one module for each zoo, and what all of them give."""
