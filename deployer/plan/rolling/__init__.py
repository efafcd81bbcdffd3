"""How instances, processes and schedules change: strategies, slots, waves, and the maths of a canary."""
