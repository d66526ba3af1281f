"""One stage a file, named by its verb. `app.py` puts them in order."""
