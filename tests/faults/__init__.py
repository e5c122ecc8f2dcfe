"""Faults of whole servers: alone on the machine, by `make test-faults`, after `make servers`."""
