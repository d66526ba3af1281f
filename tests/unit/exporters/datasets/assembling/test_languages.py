"""Languages: what is surely in another language is told, and what cannot be told passes."""

from __future__ import annotations

import sys

import pytest

from exporters.datasets.assembling import languages
from exporters.datasets.assembling.languages import Languages
from exporters.datasets.errors import DatasetError
from exporters.datasets.example import Example
from exporters.datasets.options import Clean
from exporters.datasets.reasons import Reason
from tests.unit.exporters.datasets.assembling.test_cleaning import judge

SAID = {
    "en": "The parcel was handed over to the carrier this morning and should arrive within the next two days.",
    "de": "Das Paket wurde heute Morgen an den Zusteller übergeben und sollte in den nächsten zwei Tagen ankommen.",
    "fr": "Le colis a été remis au transporteur ce matin et devrait arriver dans les deux prochains jours.",
    "es": "El paquete se entregó al transportista esta mañana y debería llegar en los próximos dos días.",
    "zh": "包裹今天早上已经交给快递公司了,预计在未来两天之内送达您的地址。",
    "ja": "荷物は今朝、配送業者に引き渡されました。今後二日以内に到着する予定です。",
    "ru": "Посылка была передана курьеру сегодня утром и должна прибыть в течение ближайших двух дней.",
}


def chat(asked: str, answered: str) -> list[dict[str, object]]:
    return [
        {"role": "system", "content": "Tu es un assistant qui répond toujours aux questions des clients."},
        {"role": "user", "content": asked},
        {"role": "assistant", "content": answered},
    ]


@pytest.mark.parametrize("code", SAID)
def test_a_language_is_told_from_all_others(code: str) -> None:
    others = tuple(other for other in SAID if other != code)
    assert Languages((code,)).accept(chat(SAID[code], SAID[code]))
    assert not Languages(others).accept(chat(SAID[code], SAID[code]))


def test_a_region_does_not_count() -> None:
    assert Languages(("en-GB",)).accept(chat(SAID["en"], SAID["en"]))


def test_short_texts_code_and_addresses_tell_nothing() -> None:
    wanted = Languages(("fr",))
    assert wanted.accept(chat("ok", "Yes, sure."))
    assert wanted.accept(chat("```" + SAID["en"] + "```", "https://example.com/" + SAID["en"].replace(" ", "-")))
    assert not wanted.accept(chat("ok", SAID["en"]))
    key = "MIIEpAIBAAKCAQEA7bq1VXtVfYtqz4Lk2hZ0gQJxQe9vYH3mJd5nQw8Lr1sT" * 8
    assert wanted.accept(chat(SAID["fr"], f"Voici la cl\u00e9 :\n{key}\n{key}"))


def test_the_cleaner_asks_when_languages_are_wanted() -> None:
    told = Example(request_id="r", timestamp_ns=1, messages=chat(SAID["de"], SAID["de"]))
    assert judge(told) is Reason.KEPT
    assert judge(told, languages=("de", "en")) is Reason.KEPT
    assert judge(told, languages=("en",)) is Reason.LANGUAGE


def test_an_unknown_code_is_named_with_those_that_are_known() -> None:
    with pytest.raises(DatasetError, match=r"No language is known as xx\. Known are: .*\ben\b"):
        Languages(("en", "xx"))


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    languages._identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(DatasetError, match=r"pip install 'penstock\[datasets\]'"):
        Languages(Clean(languages=("en",)).languages)
