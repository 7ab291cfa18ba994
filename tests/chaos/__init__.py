"""The whole platform under load, with everything in it killed, paused, restarted and cut off.

``python -m tests.chaos --seed 7 --minutes 10`` runs for long; ``test_chaos.py`` runs for short.
One seed makes one plan of faults and one sequence of sessions.
"""
