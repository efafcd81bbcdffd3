"""How agent and controller talk: bootstrap, session, protocol, outbox, request bodies, shutdown."""
