"""The table of docs/table.md: every strategy, server, supervisor and balancer, changed again and again under traffic.

`make table` measures what has no result yet, and writes the page. `make table CELLS='reload/*'` measures those again,
`make table SEED=7` six that this seed draws.
"""
