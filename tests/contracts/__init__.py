"""Each rule of the ports, as a case that every adapter passes."""
