"""The options of the commands for trainings at a provider."""

from __future__ import annotations

from typing import Annotated

import typer

ModelOption = Annotated[str, typer.Option("--model", help="The model to train, as the provider calls it.")]
NewRunOption = Annotated[str, typer.Option("--run", help="The name of the run.", show_default="NAME-MODEL")]
DpoOption = Annotated[bool, typer.Option("--dpo", help="Train on the dataset's preference pairs.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, max=50, help="The provider chooses if not said.")]
BatchSizeOption = Annotated[int | None, typer.Option("--batch-size", min=1, max=256, help="Likewise.")]
RateOption = Annotated[
    float | None, typer.Option("--learning-rate-multiplier", min=0.0001, max=10_000, help="Likewise.")
]
BetaOption = Annotated[float | None, typer.Option("--beta", min=0, max=2, help="Of --dpo: likewise.")]
SuffixOption = Annotated[str, typer.Option("--suffix", help="Becomes part of the model's name.")]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="The provider makes one if not said.")]
NoValidationOption = Annotated[bool, typer.Option("--no-validation", help="Do not send the validation split.")]
ProjectOption = Annotated[str, typer.Option("--wandb-project", help="Have the provider tell Weights & Biases.")]
EntityOption = Annotated[str, typer.Option("--wandb-entity", help="Whose project it is there.")]
WandbNameOption = Annotated[str, typer.Option("--wandb-name", help="What the run is called there.")]
BaseUrlOption = Annotated[
    str, typer.Option("--base-url", help="Any API like OpenAI's.", show_default="OPENAI_BASE_URL, else OpenAI")
]
KeyOption = Annotated[
    str, typer.Option("--api-key", help="As env:NAME or file:PATH.", show_default="env:OPENAI_API_KEY")
]
PriceOption = Annotated[float | None, typer.Option("--price", min=0, help="USD per million tokens of training.")]
MaxUsdOption = Annotated[float | None, typer.Option("--max-usd", min=0, help="Refuse what is expected to cost more.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Train a model that will soon be gone, or is not known.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check and say the price; send nothing.")]
AgainOption = Annotated[bool, typer.Option("--again", help="Another job after one that failed or was cancelled.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Leave when there is a job.")]
DeleteOption = Annotated[
    bool, typer.Option("--delete-files", help="Remove the uploaded files when the model is there.")
]
