"""Which calls: out of the store or out of files, as rows."""
