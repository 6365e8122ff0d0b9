"""Condition metrics: one number against a condition, measured again and again, as Argo Rollouts does it.

A provider measures; `measurement` turns the result into a phase by two conditions; `metric` counts phases
against limits; `run` takes the worst of all metrics. `semantics` lists where we differ on purpose.
"""
