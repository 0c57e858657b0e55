"""What `scripts/bench` runs: a parent that takes turns, and a child process for each path.

compare.py, report.py               the command `paths`, and its tables
quality.py, steps.py, memory.py     the other commands
paths.py        the paths by name
data.py         the rows of every path, written once; generated long texts
machine.py      what it ran on
figures.py      medians, ratios and tables; pure
processes.py    the parent's end of a child: one line of JSON each way
worker.py       the child's end
cases/          what a child does: tfft's fit, the tutorial's code, Trainer ...
"""
