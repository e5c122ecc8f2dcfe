"""Who the actors of the service are: sessions, channels, presence, accounts, contacts, journal.

Read `messages` for what they say to one another, `channel_state` for the rules of a thread,
`channel` and `session` for the two actors every message passes, then the rest.
"""
