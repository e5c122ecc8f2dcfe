"""Stores: records, small ports, and the adapters behind them.

The ports are in `protocols`, what they carry in `records`, what may go wrong in `errors`.
`memory` is the reference implementation; `sqlite` is the embedded default. Nothing here knows
actors, and no adapter knows another.
"""
