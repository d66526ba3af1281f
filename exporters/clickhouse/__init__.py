"""ClickHouse: the tables and their migrations, the sink that fills them, and the engine embedded behind HTTP."""
