"""How fast notices go out, against what others send with: `python -m bench.notices`, or `make bench-notices`.

Every contender runs in a process of its own against a fresh `smtp-sink` of Postfix, in turn, round after round. It measures its
own time and processor time from the first mail to the last, without starting up, and tells them as one line of JSON.
The sink counts what arrived; a run in which that number, or the number of rows that say "sent", is wrong ends the benchmark.
"""
