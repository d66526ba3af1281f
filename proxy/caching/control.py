"""What a call wants of the response cache: its own headers first, then the first rule that fits it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from ..errors import ClientFault
from ..exchange import Exchange
from ..settings import Cache, CacheRule

VARIANTS_MAX: Final = 100
_NAMESPACE_CHARS_MAX: Final = 128
_KNOWN_MAX: Final = 1000
_MODES: Final = ("on", "off", "refresh")


@dataclass(frozen=True, slots=True)
class Control:
    """What may be done for one call."""

    serve: bool
    """A reply that was kept may be given."""
    keep: bool
    """The reply may be kept."""
    max_age_s: float | None = None
    """No reply that is older."""
    only_if_cached: bool = False
    """The upstream must not be asked."""
    namespace: str = ""
    variants: int = 1
    ttl_s: float = 0.0
    """0: until it has to make room."""
    semantic: float | None = None
    force: bool = False
    """Also for what depends on the provider's state."""


class Controls:
    """From exchanges to what they want. What was understood of headers once is not understood again."""

    def __init__(self, settings: Cache) -> None:
        self._settings = settings
        self._known: dict[tuple[object, ...], Control | None] = {}

    def of(self, exchange: Exchange) -> Control | None:
        """None when the cache has nothing to do with this call. Raises `ClientFault` for what cannot be meant.

        `Cache-Control` (RFC 9111, section 5.2.1) bounds what the cache may do for a call that takes part; alone it asks
        for nothing, but for `only-if-cached`, which no other reading would obey.
        """
        fields = exchange.fields
        said = fields.get(b"cache-control")
        asked = fields.get(b"x-penstock-cache")
        rules = self._settings.rules
        if asked is None and said is None and not rules:
            return None
        rule = next((one for one in rules if _fits(one, exchange)), None) if rules else None
        namespace, variants = fields.get(b"x-penstock-cache-namespace"), fields.get(b"x-penstock-cache-variants")
        name = (asked, said, namespace, variants, id(rule))
        if name in self._known:
            return self._known[name]
        control = _control(asked, said, namespace, variants, rule, self._settings.ttl_s)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[name] = control
        return control


def _control(
    asked: bytes | None,
    said: bytes | None,
    namespace: bytes | None,
    variants: bytes | None,
    rule: CacheRule | None,
    ttl_s: float,
) -> Control | None:
    mode = _mode(asked) if asked is not None else rule.cache if rule is not None else "off"
    directives = _directives(said) if said is not None else {}
    only_if_cached = "only-if-cached" in directives
    if mode == "off" and not (only_if_cached and asked is None):
        return None
    no_store = "no-store" in directives
    return Control(
        serve=mode != "refresh" and not no_store and "no-cache" not in directives,
        keep=mode != "off" and not no_store,
        max_age_s=_max_age_s(directives.get("max-age")),
        only_if_cached=only_if_cached,
        namespace=_namespace(namespace) or (rule.namespace if rule else ""),
        variants=_variants(variants) or (rule.variants if rule else 1),
        ttl_s=rule.ttl_s if rule is not None and rule.ttl_s is not None else ttl_s,
        semantic=rule.semantic if rule is not None else None,
        force=rule is not None and rule.force,
    )


def _fits(rule: CacheRule, exchange: Exchange) -> bool:
    call = exchange.call
    model = call.model if call is not None else ""
    if not any(fnmatchcase(model, pattern) for pattern in rule.models):
        return False
    if not any(fnmatchcase(exchange.path, pattern) for pattern in rule.paths):
        return False
    for name, pattern in rule.tags.items():
        if not fnmatchcase(exchange.tags.get(name, ""), pattern) or name not in exchange.tags:
            return False
    if rule.temperature_max is None:
        return True
    asked = call.temperature if call is not None else None
    return isinstance(asked, int | float) and not isinstance(asked, bool) and asked <= rule.temperature_max


def _mode(value: bytes) -> str:
    mode = value.decode("latin-1").strip().lower()
    if mode not in _MODES:
        raise _wrong("x-penstock-cache", "on, off or refresh")
    return mode


def _namespace(value: bytes | None) -> str:
    if value is None:
        return ""
    name = value.decode("utf-8", "replace").strip()
    if not name or len(name) > _NAMESPACE_CHARS_MAX or not name.isprintable():
        raise _wrong("x-penstock-cache-namespace", f"a name of at most {_NAMESPACE_CHARS_MAX} characters")
    return name


def _variants(value: bytes | None) -> int:
    if value is None:
        return 0
    text = value.decode("latin-1").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= VARIANTS_MAX):
        raise _wrong("x-penstock-cache-variants", f"a number from 1 to {VARIANTS_MAX}")
    return int(text)


def _directives(value: bytes) -> dict[str, str]:
    found = {}
    for item in value.decode("latin-1").split(","):
        name, _, argument = item.partition("=")
        if name := name.strip().lower():
            found[name] = argument.strip().strip('"')
    return found


def _max_age_s(value: str | None) -> float | None:
    """What is no number of seconds bounds most strictly (RFC 9111, section 4.2.1: invalid freshness is staleness)."""
    if value is None:
        return None
    return float(value) if value.isascii() and value.isdigit() and len(value) <= 12 else 0.0


def _wrong(header: str, what: str) -> ClientFault:
    return ClientFault(f"{header} takes {what}.", code="invalid_cache_control", param=header)
