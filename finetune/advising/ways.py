"""Each way in words: what speaks for it and against it in the numbers of this dataset, its price, the next command."""

from __future__ import annotations

import shlex
from datetime import date
from typing import Final, Literal

import msgspec

from ..hosting.eligibility import NEW_JOBS_UNTIL
from .costs import EPOCHS, Costs, Hours
from .matrix import FEW_SHOT_BELOW, LORA_ABOVE, NEW_FACTS_MIN, PAIRS_MIN, Aim, Name, pairs_come_after, recommended
from .measures import Measures

Verdict = Literal["do", "then", "could", "not"]

HOSTED_MIN: Final = 10
"""Examples that providers ask for."""
BASE: Final = "Qwen/Qwen3-8B"
SMALL_BASE: Final = "Qwen/Qwen3-0.6B"
"""For a processor."""
PROVIDER: Final = "--base-url https://api.tokenfactory.nebius.com/v1/ --api-key env:NEBIUS_API_KEY"
TRAINED_THERE: Final = "meta-llama/Meta-Llama-3.1-8B-Instruct"
"""A provider with OpenAI's own endpoints of fine-tuning, and a model that it trains."""


_FEW: Final = "{:,} distinct examples are few: expect the model to repeat them."


class Way(msgspec.Struct, frozen=True, kw_only=True):
    name: Name
    title: str
    verdict: Verdict
    """do: the advice; then: after it; could: possible; not: does not fit this dataset."""
    why: list[str]
    against: list[str]
    usd: float | None
    """Of making it, without what calls cost later; None where that is not known."""
    price: str
    time: str
    command: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What sentences are made of."""

    measures: Measures
    aim: Aim
    costs: Costs
    dataset: str
    """As commands name it: a name or a folder."""
    name: str
    model: str
    today: date
    has_gpu: bool

    @property
    def named(self) -> str:
        return shlex.quote(self.dataset)

    def evaluate(self, prompt: str) -> str:
        """On the best split to do so that there is; behind the prompt of that file too, where there is one."""
        model = self.model or "MODEL"
        split = next((split for split in ("test", "validation") if self.measures.examples[split]), "train")
        shown = f" --few-shot {shlex.quote(f'{model}={prompt}')}" if prompt else ""
        return f"penstock evaluate {self.named} --split {split} --models {shlex.quote(model)}{shown}"


def ways(facts: Facts) -> list[Way]:
    """All of them, the recommended one first."""
    name = recommended(facts.measures.distinct, facts.aim)
    found = [_few_shot(facts), _hosted(facts), _lora(facts), _retrieval(facts), _dpo(facts)]
    found = [_advised(way, facts) if way.name == name else way for way in found]
    order: tuple[Verdict, ...] = ("do", "then", "could", "not")
    return sorted(found, key=lambda way: order.index(way.verdict))


def _advised(way: Way, facts: Facts) -> Way:
    """With what the aim adds to it."""
    for_it, against = _of_aim(facts)
    return msgspec.structs.replace(way, verdict="do", why=way.why + for_it, against=against + way.against)


def _of_aim(facts: Facts) -> tuple[list[str], list[str]]:
    labels, few = facts.measures.labels, facts.measures.distinct < FEW_SHOT_BELOW
    if facts.aim == "classification" and labels is not None:
        beat = f"always answering {labels.largest_name!r} is right in {labels.largest_share:.0%}"
        return [f"{labels.count:,} classes, balance {labels.balance:.2f}; {beat}: that is to be beaten."], []
    if facts.aim == "classification":
        return [], ["The answers are no small closed set of short texts: is it classification?"]
    if facts.aim == "format":
        return [], ["A schema in response_format gives valid JSON without any training: try that first."]
    if facts.aim == "cost":
        now, tuned = facts.costs.calls[0].usd, facts.costs.calls[-1].usd
        if few:
            return [], ["It makes calls dearer: collect examples, then tune a smaller model."]
        if now is None or tuned is None:
            return [], [f"What {facts.model or 'the model'} costs is not known: say it in [prices] of penstock.toml."]
        return [f"1,000 calls cost {_usd(tuned)} with {facts.costs.calls[-1].model} in place of {_usd(now)}."], []
    return [], []


def _few_shot(facts: Facts) -> Way:
    measures = facts.measures
    adds = facts.costs.calls[1].input_tokens - facts.costs.calls[0].input_tokens
    few = measures.distinct < FEW_SHOT_BELOW
    return Way(
        name="few-shot",
        title="Few-shot prompting",
        verdict="could",
        why=[
            f"{measures.distinct:,} distinct examples: with fewer than {FEW_SHOT_BELOW} a tuned model learns them by "
            "heart, while a few of them in the prompt show the same."
            if few
            else "Nothing is trained, and it works with any model today."
        ],
        against=[f"About {adds:,} tokens more in each call, paid for each time."]
        + ([] if few else [f"The model sees a handful of the {measures.distinct:,} distinct examples."]),
        usd=0.0,
        price="nothing; each call costs more",
        time="now",
        command=f"penstock finetune advise {facts.named} --few-shot {shlex.quote(facts.name)}.few-shot.json",
    )


def _hosted(facts: Facts) -> Way:
    measures, cheapest = facts.measures, min(facts.costs.hosted, key=lambda one: one.usd)
    closing = (
        f"takes no new jobs any more since {NEW_JOBS_UNTIL}"
        if facts.today >= NEW_JOBS_UNTIL
        else f"takes no new jobs from {NEW_JOBS_UNTIL} on, and already none of new organizations"
    )
    against = [
        f"OpenAI {closing}: the command names another provider with the same API, whose price is its own.",
        "The examples are uploaded to the provider.",
    ]
    enough, few = measures.distinct >= HOSTED_MIN, measures.distinct < FEW_SHOT_BELOW
    if not enough:
        against.insert(0, f"Providers ask for {HOSTED_MIN} examples; {measures.distinct:,} are distinct.")
    elif few:
        against.insert(0, _FEW.format(measures.distinct))
    said = (
        f"{EPOCHS} epochs of {measures.tokens.train:,} tokens cost about {_usd(cheapest.usd)}, and there is no machine "
    )
    said += "to set up."
    return Way(
        name="hosted",
        title="Hosted fine-tuning",
        verdict="could" if enough else "not",
        why=[*([] if few else [f"{measures.distinct:,} distinct examples are enough to tune on."]), said],
        against=against,
        usd=cheapest.usd,
        price=f"{_usd(cheapest.usd)} (list price of {cheapest.provider}, {cheapest.as_of})",
        time="minutes to hours, in a queue",
        command=f"penstock finetune openai {facts.named} --model {TRAINED_THERE} {PROVIDER}",
    )


def _lora(facts: Facts) -> Way:
    measures = facts.measures
    shown = _shown_hours(facts)
    against = []
    if not facts.has_gpu:
        against.append("No GPU of known speed is in this machine: train a small model here, or a larger one elsewhere.")
    if measures.distinct < FEW_SHOT_BELOW:
        against.append(_FEW.format(measures.distinct))
    why = (
        f"{measures.distinct:,} distinct examples, {measures.tokens.train:,} tokens: more than {LORA_ABOVE:,} are "
        "worth a model of one's own, which can be trained again whenever they grow."
        if measures.distinct > LORA_ABOVE
        else "Nothing leaves the house, and the adapter is yours."
    )
    return Way(
        name="lora",
        title="LoRA or QLoRA here",
        verdict="could" if measures.distinct >= HOSTED_MIN else "not",
        why=[why],
        against=[*against, "The model has to be served."],
        usd=None,
        price="the machine's hours",
        time="; ".join(_said(one) for one in shown),
        command=f"penstock finetune lora {facts.named} --base {_base(facts)}"
        + _quantised(shown)
        + (" --merge" if _pairs(facts) else ""),
    )


def _retrieval(facts: Facts) -> Way:
    new = facts.measures.new
    said = (
        f"{new.share:.0%} of the telling words of the answers, {new.facts:.1f} numbers and names in each, are in no "
        "prompt and no other answer"
    )
    return Way(
        name="retrieval",
        title="Retrieval instead of training",
        verdict="could" if new.facts >= NEW_FACTS_MIN else "not",
        why=[f"{said}: knowledge, which training teaches badly and passages in the prompt teach well."]
        if new.facts >= NEW_FACTS_MIN
        else ["Training teaches how to answer, not what is true: facts come from documents."],
        against=_against_retrieval(facts),
        usd=None,
        price="an index, and longer prompts",
        time="-",
        command=facts.evaluate(""),
    )


def _against_retrieval(facts: Facts) -> list[str]:
    new = facts.measures.new
    little = [f"{new.share:.0%} of the telling words of the answers are new: the prompts hold what is asked for."]
    later = ["For form and tone, tune later on calls that hold the passages."]
    return (little if new.facts < NEW_FACTS_MIN else []) + (later if facts.aim == "knowledge" else [])


def _dpo(facts: Facts) -> Way:
    measures = facts.measures
    pairs = measures.preferences.get("train", 0)
    enough = _pairs(facts)
    method = "qlora" if _quantised(_shown_hours(facts)) else "lora"
    tuned = shlex.quote(f"penstock-runs/{facts.name}-{method}/merged")
    here = f"penstock finetune lora {facts.named} --base {tuned} --dpo"
    there = f"penstock finetune openai {facts.named} --model THE-TUNED-MODEL {PROVIDER} --dpo"
    against = []
    if pairs < PAIRS_MIN:
        against.append(f"{pairs:,} preference pairs to train on; take at least {PAIRS_MIN}.")
    if measures.distinct < FEW_SHOT_BELOW:
        against.append(f"{measures.distinct:,} distinct examples are too few to train on before it.")
    return Way(
        name="dpo",
        title="Preferences (DPO)",
        verdict="then" if enough and facts.aim != "knowledge" else "not",
        why=[f"{pairs:,} preference pairs beside {measures.distinct:,} distinct examples: after training on these, the "
            "pairs teach which of two answers is better."]
        if enough
        else ["Pairs of a better and a worse answer refine a model that was trained before."],
        against=against,
        usd=None,
        price="per token more than training",
        time="per token about twice training",
        command=there if recommended(measures.distinct, facts.aim) == "hosted" else here,
    )  # fmt: skip


def _pairs(facts: Facts) -> bool:
    return pairs_come_after(facts.measures.distinct, facts.measures.preferences.get("train", 0))


def _shown_hours(facts: Facts) -> list[Hours]:
    """For the model that the command names, and for the device at hand where there is one."""
    own = facts.costs.own
    named = own[0].device
    here = [one for one in own if one.measured and one.parameters == "1B"]
    there = [one for one in own if one.parameters == "8B" and not one.measured]
    return [*here, *([one for one in there if one.device == named] or there[:1])] if own else []


def _base(facts: Facts) -> str:
    return BASE if facts.has_gpu else SMALL_BASE


def _quantised(shown: list[Hours]) -> str:
    return " --qlora" if shown and not any(one.measured for one in shown) and shown[-1].method == "qlora" else ""


def _said(one: Hours) -> str:
    where = "here (measured speed)" if one.measured else f"on {one.device}"
    return f"{one.parameters} model: {_hours(one.hours)} {where}" + (" by QLoRA" if one.method == "qlora" else "")


def _hours(hours: float) -> str:
    minutes = hours * 60
    if minutes < 1:
        return "under a minute"
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{hours:,.0f} h" if hours < 72 else f"{hours / 24:,.0f} days"


def _usd(usd: float) -> str:
    return "under $0.01" if usd < 0.01 else f"${usd:,.2f}"
