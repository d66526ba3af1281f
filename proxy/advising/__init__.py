"""Advice from recorded traffic: what it could cost. Pure analysis; the commands read the store and print."""
