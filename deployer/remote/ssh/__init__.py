"""The SSH connection: addresses, host keys, gateways, authentication, sudo, terminals."""
