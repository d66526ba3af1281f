"""Sockets on both sides: `server` towards callers (aiohttp), `upstream` towards the models (our own pool on httptools).

Nothing outside this folder sees a type of aiohttp or httptools.
"""
