"""Supervisors against a pure reference.

`reference` (on `timeline`) says what a tree does under a schedule of faults, and `crowd` the same
for dynamic supervisors: read them as the specification. `trees` are the trees both sides know,
`drawing` makes them up, `stage` runs the real ones, `comparison` holds the two against each other.
`python -m tests.supervision.model` runs as many as wanted.
"""
