"""The speed table: `python -m tests.bench [name ...]`. Each figure is a ratio to a baseline measured in the same run.

The measured process (nginx's worker, Penstock's worker) is alone on one core; load, upstream, recorder and store share
the other. What is compared is the process's own CPU time per request, which a busy machine disturbs little.
"""
