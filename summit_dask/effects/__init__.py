"""Files, models and clusters. They import facts and arrays."""
