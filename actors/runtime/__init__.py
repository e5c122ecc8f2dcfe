"""How actors live: spawn, send, ask, watch, end. Knows nothing of chat.

Read `exits` and `links` for the rules, `actor` for what a subclass writes, `cell` and `turns` for a
life, `dispatcher` and `system` for the loop that runs them. `inspection` looks into a living actor,
`requests` asks many at once, `registry` and `groups` find actors by more than their name.
"""

from actors.runtime.actor import Actor as Actor
from actors.runtime.address import ActorId as ActorId
from actors.runtime.address import Address as Address
from actors.runtime.background import background_system as background_system
from actors.runtime.errors import ActorDied as ActorDied
from actors.runtime.errors import AlreadyStarted as AlreadyStarted
from actors.runtime.errors import CallbackFailed as CallbackFailed
from actors.runtime.errors import CallError as CallError
from actors.runtime.errors import CallingSelf as CallingSelf
from actors.runtime.errors import CallTimeout as CallTimeout
from actors.runtime.errors import DeadlineExceeded as DeadlineExceeded
from actors.runtime.errors import Ignore as Ignore
from actors.runtime.errors import MailboxFull as MailboxFull
from actors.runtime.errors import NoSystem as NoSystem
from actors.runtime.errors import StartFailed as StartFailed
from actors.runtime.errors import StashFull as StashFull
from actors.runtime.errors import Stop as Stop
from actors.runtime.errors import WouldBlock as WouldBlock
from actors.runtime.exits import KILL as KILL
from actors.runtime.exits import KILLED as KILLED
from actors.runtime.exits import NOPROC as NOPROC
from actors.runtime.exits import NORMAL as NORMAL
from actors.runtime.exits import SHUTDOWN as SHUTDOWN
from actors.runtime.exits import Crash as Crash
from actors.runtime.exits import Custom as Custom
from actors.runtime.exits import ExitReason as ExitReason
from actors.runtime.exits import Killed as Killed
from actors.runtime.exits import Normal as Normal
from actors.runtime.exits import Shutdown as Shutdown
from actors.runtime.exits import describe as describe
from actors.runtime.exits import is_abnormal as is_abnormal
from actors.runtime.futures import Future as Future
from actors.runtime.futures import ReplySlot as ReplySlot
from actors.runtime.groups import GroupJoined as GroupJoined
from actors.runtime.groups import GroupLeft as GroupLeft
from actors.runtime.groups import GroupMonitor as GroupMonitor
from actors.runtime.groups import NotJoined as NotJoined
from actors.runtime.groups import ProcessGroups as ProcessGroups
from actors.runtime.links import MonitorRef as MonitorRef
from actors.runtime.mailbox import Overflow as Overflow
from actors.runtime.names import NameUp as NameUp
from actors.runtime.pykka_rules import PykkaActor as PykkaActor
from actors.runtime.ref import ActorStatistics as ActorStatistics
from actors.runtime.ref import Ref as Ref
from actors.runtime.registry import AlreadyRegistered as AlreadyRegistered
from actors.runtime.registry import Entry as Entry
from actors.runtime.registry import Keys as Keys
from actors.runtime.registry import NotRegistered as NotRegistered
from actors.runtime.registry import Registered as Registered
from actors.runtime.registry import Registry as Registry
from actors.runtime.registry import Unregistered as Unregistered
from actors.runtime.registry import Via as Via
from actors.runtime.reports import CrashReport as CrashReport
from actors.runtime.reports import StatusView as StatusView
from actors.runtime.requests import Request as Request
from actors.runtime.requests import RequestSet as RequestSet
from actors.runtime.requests import abcast as abcast
from actors.runtime.requests import multicall as multicall
from actors.runtime.requests import send_request as send_request
from actors.runtime.signals import TIMEOUT as TIMEOUT
from actors.runtime.signals import Down as Down
from actors.runtime.signals import Exit as Exit
from actors.runtime.signals import Timeout as Timeout
from actors.runtime.system import ActorSystem as ActorSystem
from actors.runtime.system import Spawner as Spawner
from actors.runtime.system import current_system as current_system
from actors.runtime.system import open_system as open_system
from actors.runtime.tasks import TaskRef as TaskRef
from actors.runtime.timers import TimerRef as TimerRef
from actors.runtime.timers import exit_after as exit_after
