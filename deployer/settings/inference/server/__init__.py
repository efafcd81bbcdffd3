"""The server of the app: which one, its versions, its options."""
