"""Whole runs: a client, a queue, a worker. The same jobs for celeriac and its peers, counted by a file of the bench."""
