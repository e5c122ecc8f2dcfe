"""Fault injection on the whole product: parts and processes are killed while people chat."""
