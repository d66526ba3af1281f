"""Evaluation sets that every dataset is compared with: hashes of what they say, never their texts.

`make` writes the files of this folder, and says what they are made of.
"""
