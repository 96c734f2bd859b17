"""Sharing a capture among threads, processes and machines, and ending it on a signal."""
