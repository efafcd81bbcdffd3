"""Instances, processes and schedules: switch, reload, proof, health, logs."""
