"""Actor systems side by side: ours, pykka's threads, thespian, Erlang. `report` tells."""
