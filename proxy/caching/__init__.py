"""The response cache on a request's way: what a call wants, who shares a call, how a kept reply is given again."""
