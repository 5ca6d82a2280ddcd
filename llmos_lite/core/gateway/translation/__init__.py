"""One dialect into another, when a client and the server of its model speak different ones.

Each dialect is read into one neutral form and written from it, so three dialects need three readers and three writers.
"""
