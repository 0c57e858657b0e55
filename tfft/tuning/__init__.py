"""`tfft tune`: a search over training options, by Keras Tuner's oracles and tfft's own fit.

spaces.py       --learning-rate, --space -> dimensions, and a trial's values -> a config
rising.py       the range test: a curve of losses -> the rate that it suggests
record.py       all that a search has to remember, in one file that is replaced whole
oracles.py      Keras Tuner's oracles, which begin again from that record
tuner.py        Keras Tuner's loop over trials, whose `run_trial` calls `training.fit`
trying.py       a trial's work: data that are read once, a bench that is set up once
chief.py        trials for several workers, and what becomes of those of a dead one
search.py       all of it, in order
"""
