"""What a caller meets: what its call wants, where it waits, and what it is told."""
