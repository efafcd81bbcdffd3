"""What a project asks for: its requirements files, its own table in pyproject.toml, its uv.lock."""
