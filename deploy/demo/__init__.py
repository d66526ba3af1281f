"""The whole loop in one command: traffic, a dataset, a tuned model, its evaluation, its promotion.

`make demo` runs it on this machine with a small real model. The teacher, whose answers are worth learning, is a script.
"""
