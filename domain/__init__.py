"""What a rollout is: releases, nodes, strategies, plans, verdicts, gates, policies, errors.

Pure: no I/O, no clock, no randomness. Everything here is frozen and validates itself.
"""
