"""`deploy dev`: the app on this machine, with the settings of deploy.yaml and a reload at every change of its code."""
