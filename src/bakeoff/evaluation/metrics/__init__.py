"""One file a metric, and the file's name is the metric's.

A file exposes `score(example, answer)`: from 0 to 1, higher is better, None where there is nothing to score. Further
`ABOUT` (one line), `VERSION` (raised whenever scores would change), and `NAME` where it is shown under another name.
"""
