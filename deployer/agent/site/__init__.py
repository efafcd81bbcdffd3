"""What one app keeps on one host: ledger, links, lock, ownership, freeze, secrets, drain records."""
