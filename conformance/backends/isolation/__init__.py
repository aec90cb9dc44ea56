"""Checking a backend that is not trusted: it runs in a process of its own, which may do anything.

Three processes: the suite, which never imports the backend and makes every verdict; a worker, which
imports it and answers requests; and between them a guardian, which starts workers, hears of their
end, and ends everything that they started, also where the suite itself is killed.

Arrays travel in one piece of shared memory, messages in msgpack's format: nothing is unpickled.
"""
