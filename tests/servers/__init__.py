"""Servers of other programs that tests run against."""
