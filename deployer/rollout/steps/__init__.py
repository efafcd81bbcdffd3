"""The steps of a run, one noun on the hosts in each file."""
