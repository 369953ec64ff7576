"""Facts: errors, layer graphs, the registry of stored arrays, options. They import no other band."""
