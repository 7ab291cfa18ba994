"""The rules of graphs: from a request to the plan of a session, or to every fault in it.

Pure: no clock, no client, no event loop. The gateway checks with them what it is sent, the client
what it is about to send, so that both say the same.
"""
