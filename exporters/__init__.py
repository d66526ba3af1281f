"""From finished exchanges to stored telemetry: record -> spool -> recorder -> sinks.

`record` owns the contract between those who write (the proxy's workers) and those who read; `spool` keeps records on
disk until every sink has them; `recorder` tails the spools and feeds the sinks. Nothing here imports the proxy.
"""
