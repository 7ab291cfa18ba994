"""The ``blueengine`` command: one file a command.

Further commands come through the entry-point group ``blueengine.commands``, so that the SDK need
not know the packages that bring them. Everything heavy is imported when a command runs.
"""
