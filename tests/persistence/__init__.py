"""What is particular to one store, and the pure parts."""
