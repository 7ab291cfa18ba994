"""The whole platform on one machine: ``blueengine up`` and ``blueengine demo``.

An embedded Redis, the services and the engines as child processes of one foreground process. What
this process starts it also stops; the kernel stops it should this process be killed.
"""
