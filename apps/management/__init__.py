"""Management: hands out slots, watches deadlines, tidies up.

Any number of replicas may run side by side: every change is one atomic step of the store, so that
the same event seen twice does no harm. Nothing here is needed for a session whose engines are
picked; with all replicas away sessions in work go on, and those that wait go on waiting.
"""
