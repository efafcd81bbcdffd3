"""Reading YAML with line numbers, and changing one value of it."""
