"""Models compared on the answers of a dataset's split: asked through the proxy, scored, and told apart from chance.

`evaluate.py` is the story, top down; `scoring.py` names the metrics; `statistics.py` says what they prove.
"""
