"""The formats of inventories: INI, YAML, scripts that print JSON, and files of variables."""
