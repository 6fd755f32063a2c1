"""The command `kestrel-train`. Heavy packages are imported by the commands that need them, so `--help` is quick."""

import typer

from training.commands_adapt import ablate, finetune, self_train
from training.commands_evaluate import evaluate
from training.commands_files import average, export_teacher
from training.commands_train import distil, teacher

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # errors that we foresee end as one line, see edge.startup
    rich_markup_mode=None,
)


@app.callback()
def kestrel_train() -> None:
    """Train, distil and judge the networks of Kestrel."""


app.command()(teacher)
app.command()(distil)
app.command()(average)
app.command()(export_teacher)
app.command()(evaluate)
app.command("self-train")(self_train)
app.command()(finetune)
app.command()(ablate)
