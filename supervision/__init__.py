"""Supervisors: children started in order, restarted by rule, stopped in reverse.

Read `spec` for the words, `strategy`, `intensity` and `backoff` for the decisions, `supervisor` and
`dynamic` for the doing. Knows the actor runtime and nothing of chat.
"""

from supervision.backoff import Backoff as Backoff
from supervision.dynamic import CountChildren as CountChildren
from supervision.dynamic import DynamicSupervisor as DynamicSupervisor
from supervision.dynamic import SpawnerHandle as SpawnerHandle
from supervision.intensity import Window as Window
from supervision.spec import BRUTAL_KILL as BRUTAL_KILL
from supervision.spec import AutoShutdown as AutoShutdown
from supervision.spec import ChildSpec as ChildSpec
from supervision.spec import InvalidSpec as InvalidSpec
from supervision.spec import Restart as Restart
from supervision.spec import Strategy as Strategy
from supervision.spec import SupervisorSpec as SupervisorSpec
from supervision.spec import validate as validate
from supervision.strategy import ChildView as ChildView
from supervision.strategy import Plan as Plan
from supervision.strategy import plan as plan
from supervision.supervisor import RestartChild as RestartChild
from supervision.supervisor import Supervisor as Supervisor
from supervision.supervisor import TerminateChild as TerminateChild
from supervision.supervisor import WhichChildren as WhichChildren
from supervision.tree import TreeNode as TreeNode
from supervision.tree import snapshot as snapshot
