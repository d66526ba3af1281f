"""What `penstock` can do: one file for each command. Reports ask the store by SQL over ClickHouse's HTTP interface."""
