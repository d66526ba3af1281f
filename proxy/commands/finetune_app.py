"""`penstock finetune`: its commands. Each imports what it needs of `finetune` when it runs, and torch with it."""

from __future__ import annotations

import typer

from . import finetune_advise, finetune_hosted, finetune_lora, finetune_serve

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train a model of one's own on a dataset.")

app.command("openai")(finetune_hosted.openai)
app.command("watch")(finetune_hosted.watch)
app.command("status")(finetune_hosted.status)
app.command("checkpoints")(finetune_hosted.checkpoints)
app.command("cancel")(finetune_hosted.cancel)
app.command("pause")(finetune_hosted.pause)
app.command("resume")(finetune_hosted.resume)
app.command("delete-files")(finetune_hosted.delete_files)
app.command("lora")(finetune_lora.lora)
app.command("advise")(finetune_advise.advise)
app.command("runs")(finetune_serve.list_runs)
app.command("serve")(finetune_serve.serve)
app.command("show")(finetune_serve.show)
