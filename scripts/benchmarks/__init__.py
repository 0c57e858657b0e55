"""What `scripts/bench` runs: a parent that takes turns, and a child process for each path.

figures.py      medians, ratios and tables; pure
machine.py      what it ran on
data.py         the rows of every path, written once; generated long texts
processes.py    the parent's end of a child: one line of JSON each way
worker.py       the child's end
paths.py        the paths by name
cases/          what a child does: tfft's fit, the tutorial's code, Trainer ...
compare.py      the commands: paths, and beside it memory.py, quality.py and step.py
"""
