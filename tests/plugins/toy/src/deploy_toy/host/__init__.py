"""What deploy sends to the hosts of a toy balancer along with its agent: only the standard library is there."""
