"""All rows through all steps, in several processes, to a folder."""
