"""For tests of actors and trees: probes, virtual time, scripted children, logs and events.

`Probe` stands where another actor would and says what came. `run_virtual` runs a story on time that
jumps; `settle` and `advance` let things happen in it. `Scripted` is a child that starts, crashes
and stops as its `Script` says. `capture_logs` and `EventLog` keep what was told. What fails raises
`AssertionError` and shows values: this is a tool for tests, and production code does not import it.
"""

from actors.testkit.events import EventLog as EventLog
from actors.testkit.events import record_events as record_events
from actors.testkit.expectations import ANYTHING as ANYTHING
from actors.testkit.logs import Logs as Logs
from actors.testkit.logs import capture_logs as capture_logs
from actors.testkit.probe import Arrival as Arrival
from actors.testkit.probe import Probe as Probe
from actors.testkit.scripted import FAILS as FAILS
from actors.testkit.scripted import HANGS as HANGS
from actors.testkit.scripted import IGNORES as IGNORES
from actors.testkit.scripted import READY as READY
from actors.testkit.scripted import Life as Life
from actors.testkit.scripted import Script as Script
from actors.testkit.scripted import Scripted as Scripted
from actors.testkit.scripted import ScriptedCrash as ScriptedCrash
from actors.testkit.virtual import NotSettled as NotSettled
from actors.testkit.virtual import advance as advance
from actors.testkit.virtual import run_virtual as run_virtual
from actors.testkit.virtual import settle as settle
