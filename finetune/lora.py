"""LoRA and QLoRA on this machine: `penstock finetune lora DATASET --base MODEL`.

The story, top to bottom: what is to be learnt becomes tokens; the base is loaded; a plan is told; trl's trainer trains
an adapter, with checkpoints; the best one is compared with the base, saved, drawn and described. Whatever ends it, the
run's folder says how far it came, and `train(options, run)` goes on from there.
"""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from peft import load_peft_weights, set_peft_model_state_dict
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback

from . import run as runs
from .dataset import Dataset
from .errors import FinetuneError
from .gguf_adapter import shape_of
from .run import Run, RunFile, Trained
from .training import checkpoints, finishing
from .training.adapting import examples_of, packed, pairs_of, trainer
from .training.bases import load_model
from .training.conversations import Pair
from .training.estimating import Plan, plan, steps_of, words
from .training.failing import one_line
from .training.gathering import Material, gather
from .training.interrupting import Interruption
from .training.machine import Machine
from .training.noting import noted
from .training.options import LoraOptions
from .training.progress import Silent, Steps, Watch
from .training.tracking import EarlyStopping, Log, cut_log, report_to

PACKAGES: Final = ("torch", "transformers", "tokenizers", "peft", "trl", "accelerate", "datasets", "bitsandbytes")


def estimate(options: LoraOptions, watch: Watch | None = None) -> Plan:
    """What `train` would do, without doing it. Raises `FinetuneError`."""
    with one_line(options):
        material = gather(options, watch or Silent())
        model = _loaded(material)
        with tempfile.TemporaryDirectory(prefix="penstock-plan-") as aside:
            return planned(material, around(material, model, Path(aside), "plan", [], []))


def train(options: LoraOptions, run: Run | None = None, *, root: Path = runs.RUNS, watch: Watch | None = None) -> Run:
    """A finished run: a new one in `root`, or `run` gone on with.

    Raises `FinetuneError` when it cannot be begun, or ended before it was finished; the run then is `interrupted` or
    `failed`, and can be gone on with unless nothing of it was done.
    """
    with one_line(options):
        material = gather(options, watch or Silent())
    machine = material.machine
    machine.first(material.dataset.check_noted)
    watch = watch if watch and machine.main else Silent()
    new = run is None
    run = Run.open(machine.first(lambda: (run or _new(material, root)).folder))

    with (
        run.held() if machine.main else nullcontext(),
        noted(run, machine, new=new) as interruption,
        one_line(options),
    ):
        model = _loaded(material)
        steps = Steps(watch)
        log = Log(run.log, datetime.fromisoformat(run.file.began).timestamp())
        trackers = report_to(options.track, name=run.name, folder=run.folder)
        callbacks = [log, steps, interruption, finishing.Noting(run, material.dataset)]
        made = around(material, model, run.checkpoints, run.name, trackers, callbacks)
        found = planned(material, made)
        for line in words(found):
            watch.say(line)
        run.file.parameters, run.file.trainable_parameters = found.parameters, found.trainable
        run.file.state, run.file.error, run.file.arguments = "running", "", _kept(material).asdict()
        if machine.main:
            run.save()
        try:
            trained(run, made, machine, interruption)
        finally:
            steps.close()
        if machine.main:
            tuned: Any = made.accelerator.unwrap_model(made.model)
            examples = [row.preferred() if isinstance(row, Pair) else row for row in material.validation]
            run.file.perplexity = finishing.compare(tuned, examples, options, watch)
            finishing.save(run, tuned, material.tokenizer, material.base, options, machine)
            finishing.close(run, material.dataset, machine, steps.tokens_per_second, watch)
    return run


def go_on(run: Run, *, watch: Watch | None = None, **changed: Any) -> Run:
    """`train` with what the run was made with, and what of it may be changed. Raises `FinetuneError`."""
    if run.file.state == "finished":
        raise FinetuneError(f"The run {run.name} is finished. Look: penstock finetune show {run.name}")
    if run.file.method not in ("lora", "qlora"):
        raise FinetuneError(f"The run {run.name} is not one of this machine: penstock finetune openai goes on with it.")
    options = LoraOptions.of(run.file.arguments).changed(**changed)
    if Dataset.open(Path(options.dataset)).sha256 != run.file.dataset.sha256:
        raise FinetuneError(f"{options.dataset} is not what {run.name} was begun with. Begin a new run.")
    return train(options, run, watch=watch)


def around(
    material: Material, model: Any, output: Path, name: str, trackers: list[str], callbacks: list[Any]
) -> Trainer:
    """trl's trainer around the base with a new adapter."""
    options, machine = material.options, material.machine
    as_rows: Any = pairs_of if options.dpo else examples_of
    rows = packed(as_rows(material.rows), options.max_length) if options.packing else as_rows(material.rows)
    callbacks = [*callbacks, checkpoints.Marking()]
    if options.patience:
        callbacks.append(EarlyStopping(options.patience))
    made = trainer(
        options,
        machine,
        model,
        material.tokenizer,
        rows=rows,
        validation=as_rows(material.validation) if material.validation else None,
        steps=steps_of(options, len(rows), machine.processes)[0],
        output=output,
        name=name,
        trackers=trackers,
        callbacks=callbacks,
    )
    made.remove_callback(PrinterCallback)
    return made


def planned(material: Material, made: Trainer) -> Plan:
    """In numbers, what `made` is about to do."""
    rows: Any = made.train_dataset
    validation: Any = made.eval_dataset
    return plan(
        material.options,
        material.machine,
        made.model,
        counted=material.counted,
        lengths=[*map(len, rows["input_ids"])] if material.options.packing else list(rows["length"]),
        validation_lengths=list(validation["length"]) if validation is not None else [],
        answers_by=material.answers_by,
    )


def trained(run: Run, made: Trainer, machine: Machine, interruption: Interruption) -> None:
    """`made.model` carries the adapter with the best validation loss, or the last one where nothing is validated.

    Raises `KeyboardInterrupt` when a signal ended it; there is a checkpoint then.
    """
    if (best := checkpoints.over(run.checkpoints)) is not None:  # what came after training was interrupted
        _put_on(made, best, machine)
        return
    machine.wait()
    if machine.main:
        checkpoints.sweep(run.checkpoints)
        last = checkpoints.newest(run.checkpoints)
        cut_log(run.log, checkpoints.step_of(last) if last else 0)
    machine.wait()
    last = checkpoints.newest(run.checkpoints)
    if last is None or not checkpoints.ended(last, made.args.max_steps, run.file.arguments["patience"]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries about each other
            made.train(resume_from_checkpoint=str(last) if last else None)
        if interruption.stopped:
            raise KeyboardInterrupt
        last = checkpoints.newest(run.checkpoints)
    else:  # trl would go on to the end of the epoch
        _put_on(made, checkpoints.best_by(last), machine)
    if machine.main and last is not None:
        checkpoints.set_over(run.checkpoints, checkpoints.best_by(last))
    if interruption.asked:
        raise KeyboardInterrupt


def _put_on(made: Trainer, checkpoint: Path, machine: Machine) -> None:
    set_peft_model_state_dict(made.model, load_peft_weights(str(checkpoint), device=str(machine.device)))


def _new(material: Material, root: Path) -> Run:
    options, machine, dataset = material.options, material.machine, material.dataset
    kept = _kept(material)
    write = dataset.manifest.options.write
    return Run.create(
        root,
        RunFile(
            name=options.named(dataset.name),
            method="qlora" if options.qlora else "lora",
            objective=options.objective,
            dataset=Trained(
                name=dataset.name,
                folder=kept.dataset,
                sha256=dataset.sha256,
                examples={"train": len(material.rows), "validation": len(material.validation)},
            ),
            base=kept.base,
            arguments=kept.asdict(),
            seed=options.seed,
            device=machine.named,
            dtype=machine.dtype_name,
            git_commit=runs.git_commit(Path.cwd()),
            versions=runs.installed(PACKAGES),
            began=datetime.now(UTC).isoformat(timespec="milliseconds"),
            prune=write.prune,
            prune_user=write.prune_user,
        ),
    )


def _kept(material: Material) -> LoraOptions:
    """With paths that mean the same from everywhere."""
    template = material.options.chat_template
    return dataclasses.replace(
        material.options,
        dataset=str(material.dataset.folder.resolve()),
        base=material.base.source,
        chat_template=str(Path(template).resolve()) if template else "",
    )


def _loaded(material: Material) -> Any:
    """The base: 4 bits are made on the device itself, all else is moved there by the trainer."""
    machine, options = material.machine, material.options
    place = machine.device if options.qlora else "cpu"
    model = load_model(material.base, dtype=machine.dtype, device=place, quantise=options.qlora)
    if options.gguf:
        shape_of(model.config.to_dict())  # refused before it is trained, not after
    return model
