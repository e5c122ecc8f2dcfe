"""The laboratory: a tree, a seed and a schedule of faults make a run that can be had again.

`faults` says what goes wrong and when, `injection` does it to actors that know nothing of it,
`replay` runs a tree on virtual time under a seeded scheduler, and `eventlog` makes of its events
values that two runs can be compared by.
"""

from supervision.lab.eventlog import Entry as Entry
from supervision.lab.eventlog import entry_of as entry_of
from supervision.lab.faults import Ask as Ask
from supervision.lab.faults import Crash as Crash
from supervision.lab.faults import Ensure as Ensure
from supervision.lab.faults import Exit as Exit
from supervision.lab.faults import Fault as Fault
from supervision.lab.faults import Hang as Hang
from supervision.lab.faults import Kill as Kill
from supervision.lab.injection import Answered as Answered
from supervision.lab.injection import Injected as Injected
from supervision.lab.injection import Missed as Missed
from supervision.lab.injection import inject as inject
from supervision.lab.replay import Run as Run
from supervision.lab.replay import run_scenario as run_scenario
from supervision.lab.replay import run_tree as run_tree
