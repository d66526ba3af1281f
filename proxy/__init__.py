"""The server. Its vocabulary: `Exchange` (one call), `Reply` (what goes back), `Handler` and `Stage` (the chain).

`app.py` holds the list of stages, which is the architecture; `http/` the sockets on both sides; `openai/` the wire
shapes, as pure functions.
"""
