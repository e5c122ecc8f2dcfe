"""The real actors compared, step by step, with a reference written from the protocol alone."""
