"""Names of people, places and organisations, found by Presidio with a language model of spaCy: thorough, and slow.

It runs after the patterns, on what they left. The model is not part of the package: it is what `PENSTOCK_SPACY_MODEL`
names (an installed package, or a folder), or `en_core_web_lg`. Nothing is downloaded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from ..errors import DatasetError

MODEL: Final = "en_core_web_lg"
LANGUAGE: Final = "en"
SCORE_MIN: Final = 0.5
_KINDS: Final = {
    "PERSON": "PERSON",
    "LOCATION": "LOCATION",
    "GPE": "LOCATION",
    "NRP": "NATIONALITY",
    "ORGANIZATION": "ORGANIZATION",
    "PHONE_NUMBER": "PHONE",
    "EMAIL_ADDRESS": "EMAIL",
    "IBAN_CODE": "IBAN",
    "CRYPTO": "CRYPTO_WALLET",
    "UK_NHS": "NATIONAL_ID",
    "US_ITIN": "NATIONAL_ID",
    "US_PASSPORT": "NATIONAL_ID",
    "US_DRIVER_LICENSE": "NATIONAL_ID",
}
"""Our names for its entities; others keep theirs. Dates and addresses of web pages are not private."""
_LEFT: Final = frozenset({"DATE_TIME", "URL", "UUID", "AGE", "ID"})

_placeholder: Final = re.compile(r"\[[A-Z][A-Z0-9_]*\]").finditer


class People:
    """Raises `DatasetError` when Presidio or its language model is missing."""

    def __init__(self, model: str = "") -> None:
        model = model or os.environ.get("PENSTOCK_SPACY_MODEL", "") or MODEL
        try:
            from presidio_analyzer import AnalyzerEngine
            from presidio_analyzer.nlp_engine import NlpEngineProvider
            from spacy.util import is_package
        except ImportError as error:
            raise DatasetError("The engine presidio is not installed: pip install 'penstock[pii]'") from error
        if not is_package(model) and not Path(model).is_dir():
            # Presidio would download it.
            raise DatasetError(
                f"The engine presidio needs the spaCy model {model}: python -m spacy download {model}, "
                "or PENSTOCK_SPACY_MODEL=FOLDER"
            )
        configuration = {"nlp_engine_name": "spacy", "models": [{"lang_code": LANGUAGE, "model_name": model}]}
        engine = NlpEngineProvider(nlp_configuration=configuration).create_engine()
        self._analyzer: Any = AnalyzerEngine(nlp_engine=engine, supported_languages=[LANGUAGE])
        self._entities = [name for name in self._analyzer.get_supported_entities(LANGUAGE) if name not in _LEFT]

    def find(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, kind) by place, none over another, none within a placeholder."""
        taken = [found.span() for found in _placeholder(text)]
        results = self._analyzer.analyze(text, LANGUAGE, entities=self._entities, score_threshold=SCORE_MIN)
        chosen: list[tuple[int, int, str]] = []
        for result in sorted(results, key=lambda r: (-r.score, r.start, -r.end, r.entity_type)):
            if all(result.end <= start or result.start >= end for start, end in taken):
                taken.append((result.start, result.end))
                kind = _KINDS.get(result.entity_type, result.entity_type)
                chosen.append((result.start, result.end, kind))
        return sorted(chosen)
