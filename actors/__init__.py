"""Actors: the runtime they live in (`runtime`) and the chat service made of them (`chat`)."""
