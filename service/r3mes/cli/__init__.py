"""The command line: composition root that imports a role only when its command runs."""
