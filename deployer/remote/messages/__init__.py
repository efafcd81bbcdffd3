"""The shapes of what an agent sends, and how long a response may take."""
