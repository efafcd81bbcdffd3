"""The pools of balancers: their servers, addresses, health checks and certificates."""
