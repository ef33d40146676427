"""The testing kit: a clock moved by hand, a tree run step by step, probes that wait, faults on purpose.

Public: an application's own tests of its actors are meant to use it. With threads:

    clock, plan, probe = ManualClock(), FaultPlan(), Probe()
    plan.crash("/adder", "before_commit", nth=3)
    tree = Tree(spec, clock=clock, faults=plan)
    tree.subscribe(probe)
    tree.start()
    ...
    probe.wait_for(Restarting)
    clock.advance(1.0)

Without threads, and the same every time: `Dispatcher`.
"""

from tickloom.supervision.dispatcher import Dispatcher, Stuck
from tickloom.supervision.faults import POINTS, Fault, FaultPlan, InjectedCrash
from tickloom.supervision.manual import ManualClock
from tickloom.supervision.probe import Probe

__all__ = ["POINTS", "Dispatcher", "Fault", "FaultPlan", "InjectedCrash", "ManualClock", "Probe", "Stuck"]
