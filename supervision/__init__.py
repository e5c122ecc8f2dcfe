"""Supervisors: children started in order, restarted by rule, stopped in reverse.

Read `spec` for the words, `strategy`, `intensity`, `backoff`, `trouble` and `upgrade` for the
decisions, `supervisor` and `dynamic` for the doing, `tasks`, `streams`, `partition` and `entities`
for what is built upon them, `admin` for talking to them, `tree` and `reports` for looking at them,
`lint` for mistakes in a tree, `phases` for the end of a program. Experiments are in `lab`.
Knows the actor runtime and nothing of chat.
"""

from actors.runtime.directives import Directive as Directive
from actors.runtime.directives import OnError as OnError
from supervision import admin as admin
from supervision.admin import AlreadyRunning as AlreadyRunning
from supervision.admin import BadSpec as BadSpec
from supervision.admin import ChildInfo as ChildInfo
from supervision.admin import ChildStarted as ChildStarted
from supervision.admin import ChildState as ChildState
from supervision.admin import CountChildren as CountChildren
from supervision.admin import Counts as Counts
from supervision.admin import DeleteChild as DeleteChild
from supervision.admin import Done as Done
from supervision.admin import GetChildSpec as GetChildSpec
from supervision.admin import NotStarted as NotStarted
from supervision.admin import Refusal as Refusal
from supervision.admin import RestartChild as RestartChild
from supervision.admin import StartChild as StartChild
from supervision.admin import TerminateChild as TerminateChild
from supervision.admin import UpdateDynamic as UpdateDynamic
from supervision.admin import UpdateSpec as UpdateSpec
from supervision.admin import WhichChild as WhichChild
from supervision.admin import WhichChildren as WhichChildren
from supervision.backoff import Backoff as Backoff
from supervision.dynamic import DynamicSupervisor as DynamicSupervisor
from supervision.entities import Entities as Entities
from supervision.entities import EntityRef as EntityRef
from supervision.events import ChildReady as ChildReady
from supervision.events import FailedToStart as FailedToStart
from supervision.events import Level as Level
from supervision.events import Passivated as Passivated
from supervision.events import Passivation as Passivation
from supervision.events import StartAttemptFailed as StartAttemptFailed
from supervision.events import UncleanShutdown as UncleanShutdown
from supervision.events import UncleanShutdowns as UncleanShutdowns
from supervision.intensity import Window as Window
from supervision.lint import Accepted as Accepted
from supervision.lint import Finding as Finding
from supervision.lint import Rule as Rule
from supervision.lint import lint as lint
from supervision.partition import Partitions as Partitions
from supervision.partition import PartitionSupervisor as PartitionSupervisor
from supervision.phases import CoordinatedShutdown as CoordinatedShutdown
from supervision.phases import Phase as Phase
from supervision.phases import PhaseEnded as PhaseEnded
from supervision.reading import read_child as read_child
from supervision.reading import read_supervisor as read_supervisor
from supervision.reports import Report as Report
from supervision.reports import report_of as report_of
from supervision.routing import partition_of as partition_of
from supervision.spawner import SpawnerHandle as SpawnerHandle
from supervision.spec import BRUTAL_KILL as BRUTAL_KILL
from supervision.spec import AutoShutdown as AutoShutdown
from supervision.spec import ChildSpec as ChildSpec
from supervision.spec import InvalidSpec as InvalidSpec
from supervision.spec import Problem as Problem
from supervision.spec import Restart as Restart
from supervision.spec import Strategy as Strategy
from supervision.spec import SupervisorSpec as SupervisorSpec
from supervision.spec import validate as validate
from supervision.strategy import ChildView as ChildView
from supervision.strategy import Plan as Plan
from supervision.strategy import plan as plan
from supervision.streams import OnTimeout as OnTimeout
from supervision.streams import TaskStream as TaskStream
from supervision.streams import TaskTimeout as TaskTimeout
from supervision.supervisor import Supervisor as Supervisor
from supervision.tasks import Task as Task
from supervision.tasks import Tasks as Tasks
from supervision.tasks import TaskSupervisor as TaskSupervisor
from supervision.tasks import TooManyTasks as TooManyTasks
from supervision.tree import TreeNode as TreeNode
from supervision.tree import snapshot as snapshot
from supervision.tree import to_dot as to_dot
from supervision.tree import to_json as to_json
from supervision.tree import to_text as to_text
